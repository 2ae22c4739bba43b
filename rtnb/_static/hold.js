// A button that tells the kernel when it is pressed and when it is let go, by pointer or by keyboard.
function render({ model, el }) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "jupyter-button widget-button jupyter-widgets rtnb-hold";
  let held = false;
  const press = () => {
    if (held || model.get("disabled")) return;
    held = true;
    button.setAttribute("aria-pressed", "true");
    model.send({ kind: "press" });
  };
  const release = () => {
    if (!held) return;
    held = false;
    button.setAttribute("aria-pressed", "false");
    model.send({ kind: "release" });
    show(); // it may have been disabled meanwhile
  };
  const isKey = (event) => event.key === " " || event.key === "Enter";
  button.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    button.setPointerCapture(event.pointerId); // let go outside the button counts too
    press();
  });
  for (const kind of ["pointerup", "pointercancel", "lostpointercapture", "blur"]) {
    button.addEventListener(kind, release);
  }
  button.addEventListener("keydown", (event) => {
    if (!isKey(event)) return;
    event.preventDefault();
    event.stopPropagation();
    if (!event.repeat) press();
  });
  button.addEventListener("keyup", (event) => { if (isKey(event)) release(); });
  const show = () => {
    button.textContent = model.get("label");
    button.title = model.get("hint");
    // a button that is held stays as it is until it is let go
    button.disabled = model.get("disabled") && !held;
  };
  for (const name of ["label", "hint", "disabled"]) model.on(`change:${name}`, show);
  button.setAttribute("aria-pressed", "false");
  show();
  el.append(button);
  return release;
}
export default { render };
