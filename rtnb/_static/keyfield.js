// A password field whose value is never part of the widget's state: it goes to the kernel in one
// message when the field is left, and is gone from the page then.
function render({ model, el }) {
  const label = document.createElement("label");
  label.className = "rtnb-key";
  const name = document.createElement("span");
  name.textContent = "API key";
  const input = document.createElement("input");
  input.type = "password";
  input.autocomplete = "off";
  input.spellcheck = false;
  const show = () => {
    const held = "taken; used at Connect, then forgotten (Escape drops it)";
    input.placeholder = model.get("held") ? held : model.get("hint");
    input.disabled = model.get("disabled");
  };
  const send = (value) => {
    try {
      model.send({ kind: "key", value });
    } catch {
      input.placeholder = "no kernel took it: run the cell again";
    }
  };
  input.addEventListener("change", () => {
    const value = input.value;
    input.value = ""; // first: whatever becomes of the message, the key is not left in the page
    send(value);
  });
  input.addEventListener("keydown", (event) => {
    event.stopPropagation();
    if (event.key !== "Escape") return;
    input.value = "";
    send("");
  });
  for (const trait of ["held", "hint", "disabled"]) model.on(`change:${trait}`, show);
  show();
  label.append(name, input);
  el.append(label);
  return () => { input.value = ""; };
}
export default { render };
