"""Which coin a file is of: a column of symbols or names must be the coin that was asked for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from models.data.files.formats import plain
from models.data.files.refusal import shown
from models.errors import InputError

QUOTES = (
    "USDT", "USDC", "BUSD", "FDUSD", "TUSD", "USD", "EUR", "GBP", "JPY", "CHF", "AUD", "CAD",
    "KRW", "BRL", "TRY",
)  # fmt: skip
NAMES = {
    "BITCOIN": "BTC", "XBT": "BTC", "ETHEREUM": "ETH", "LITECOIN": "LTC", "RIPPLE": "XRP",
    "BITCOIN CASH": "BCH", "CARDANO": "ADA", "DOGECOIN": "DOGE", "SOLANA": "SOL", "BNB": "BNB",
    "BINANCE COIN": "BNB", "CHAINLINK": "LINK", "POLKADOT": "DOT", "STELLAR": "XLM", "EOS": "EOS",
    "TRON": "TRX", "ETHEREUM CLASSIC": "ETC", "MONERO": "XMR", "TETHER": "USDT",
}  # fmt: skip
TICKERS = frozenset(NAMES.values())


def find_coin(value: str) -> str:
    """The coin of a symbol or name, such as BTC of BINANCE:BTCUSDT; empty where it names none."""
    text = value.strip().upper().rpartition(":")[2]
    if (text in QUOTES and text not in TICKERS) or not re.search("[A-Z]", text):
        return ""
    if text in NAMES:
        return NAMES[text]
    parts = re.split(r"[/\-_ ]+", text)
    base = parts[0]
    if len(parts) == 1:
        bases = [
            base.removesuffix(q) for q in QUOTES if base.endswith(q) and len(base) > len(q) + 1
        ]
        known = [found for found in bases if found in TICKERS or found in NAMES]
        base = [*known, *bases, base][0]
    elif parts[1] not in QUOTES and parts[1] not in TICKERS:
        base = text
    return NAMES.get(base, base)


def check_coins(found: Iterable[str], header: Sequence[str], symbol: str, name: str) -> None:
    """Raise InputError for a file of several coins, or of another than BASE/QUOTE of `symbol`.

    `found` are the cells of its columns of symbols; without any, the header may name a coin, as in
    'Volume ETH'.
    """
    base = find_coin(symbol.partition("/")[0])
    coins = sorted({coin for coin in map(find_coin, found) if coin})
    if len(coins) > 1:
        listed = ", ".join(shown(coin) for coin in coins[:5])
        raise InputError(
            f"{name}: holds {len(coins)} coins ({listed}); keep the rows of one, such as {base}"
        )
    if not coins:
        words = [re.fullmatch(r"(?:volume|vol) ([a-z]+)", plain(cell)) for cell in header]
        volumes = {find_coin(word[1]) for word in words if word} & TICKERS
        coins = [] if base in volumes else sorted(volumes - {"USDT"})
    known = coins and (coins[0] in TICKERS or re.fullmatch("[A-Z0-9]{2,6}", coins[0]))
    if known and base and coins[0] != base:
        raise InputError(
            f"{name}: holds {coins[0]}, and {symbol} was asked for; take the other file, or say "
            f"--symbol {coins[0]}/{symbol.partition('/')[2]}"
        )
