// Shows the numbers under the pointer, or at the arrow keys, below each chart. Nothing else.
for (const svg of document.querySelectorAll("svg[data-readouts]")) {
  const xs = JSON.parse(svg.dataset.readouts);
  if (!xs.length) continue;
  const figure = svg.closest("figure");
  const texts = JSON.parse(figure.dataset.texts);
  const output = figure.querySelector(".readout");
  const pointer = document.createElementNS("http://www.w3.org/2000/svg", "path");
  pointer.setAttribute("class", "pointer");
  let at = xs.length - 1;
  const show = (index) => {
    at = Math.max(0, Math.min(xs.length - 1, index));
    pointer.setAttribute("d", `M${xs[at]} ${svg.dataset.top}V${svg.dataset.bottom}`);
    svg.append(pointer);
    output.textContent = texts[at];
  };
  const hide = () => { pointer.remove(); output.textContent = ""; };
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    const x = (event.clientX - box.left) * svg.viewBox.baseVal.width / box.width;
    let best = 0;
    xs.forEach((other, index) => { if (Math.abs(other - x) < Math.abs(xs[best] - x)) best = index; });
    show(best);
  });
  svg.addEventListener("pointerleave", hide);
  svg.addEventListener("blur", hide);
  svg.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step) { show(at + step); event.preventDefault(); }
  });
}
