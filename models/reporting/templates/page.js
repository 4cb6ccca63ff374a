// Shows the numbers under the pointer, or at the arrow keys, below each chart. Nothing else.
for (const svg of document.querySelectorAll("svg[data-readouts]")) {
  const points = JSON.parse(svg.dataset.readouts);
  if (!points.length) continue;
  const output = svg.closest("figure").querySelector(".readout");
  const pointer = document.createElementNS("http://www.w3.org/2000/svg", "path");
  pointer.setAttribute("class", "pointer");
  let at = points.length - 1;
  const show = (index) => {
    at = Math.max(0, Math.min(points.length - 1, index));
    const [x, text] = points[at];
    pointer.setAttribute("d", `M${x} ${svg.dataset.top}V${svg.dataset.bottom}`);
    svg.append(pointer);
    output.textContent = text;
  };
  const hide = () => { pointer.remove(); output.textContent = ""; };
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    const x = (event.clientX - box.left) * svg.viewBox.baseVal.width / box.width;
    let best = 0;
    points.forEach((point, index) => { if (Math.abs(point[0] - x) < Math.abs(points[best][0] - x)) best = index; });
    show(best);
  });
  svg.addEventListener("pointerleave", hide);
  svg.addEventListener("blur", hide);
  svg.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step) { show(at + step); event.preventDefault(); }
  });
}
