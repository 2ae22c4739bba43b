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
    input.placeholder = model.get("held") ? "taken; used at Connect, then forgotten" : model.get("hint");
    input.disabled = model.get("disabled");
  };
  input.addEventListener("change", () => {
    model.send({ kind: "key", value: input.value });
    input.value = "";
  });
  input.addEventListener("keydown", (event) => event.stopPropagation());
  for (const name of ["held", "hint", "disabled"]) model.on(`change:${name}`, show);
  show();
  label.append(name, input);
  el.append(label);
  return () => { input.value = ""; };
}
export default { render };
