// A button that tells the kernel when it is pressed and when it is let go, by pointer or by keyboard.
const PRESENCE = 10000; // ms between two words that this page is there

function render({ model, el }) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "jupyter-button widget-button jupyter-widgets rtnb-hold";
  let held = false;
  const tell = (kind) => {
    try {
      model.send({ kind });
    } catch {
      button.title = "no kernel: run the cell again";
    }
  };
  const show = () => {
    button.textContent = model.get("label");
    button.title = model.get("hint");
    // a button that is held stays as it is until it is let go
    button.disabled = model.get("disabled") && !held;
    button.setAttribute("aria-pressed", String(held));
  };
  const press = () => {
    if (held || model.get("disabled")) return;
    held = true;
    show();
    tell("press");
  };
  const release = () => {
    if (!held) return;
    held = false;
    show();
    tell("release");
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
  window.addEventListener("pagehide", release);
  // so that the kernel knows on which of its threads this page is served (ipykernel 7)
  const presence = setInterval(() => tell("here"), PRESENCE);
  for (const trait of ["label", "hint", "disabled"]) model.on(`change:${trait}`, show);
  show();
  el.append(button);
  tell("here");
  return () => {
    clearInterval(presence);
    window.removeEventListener("pagehide", release);
    release();
  };
}
export default { render };
