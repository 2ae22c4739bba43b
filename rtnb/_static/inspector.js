// The page's side of rtnb.EventInspector. What is shown is the model's `window`; everything in it is
// data from elsewhere and goes into the page as text only. A row of it is
// [number, time, sent, type, kind, span, summary], newest first.

const PATIENCE = 5000; // ms without an answer after which the kernel is taken to be away
const PRESENCE = 10000; // ms between two words that this page is there
const MOST_UNFOLDED = 20;
const LINES = 100; // events of a run that are shown at once, and in one answer
const SPOKEN = 10000; // ms between two announcements of the total
let views = 0;

function make(tag, className = "", text = "", attributes = {}) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== "") node.textContent = text;
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}

function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function count(number, word) {
  return `${number.toLocaleString("en")} ${word}${number === 1 ? "" : "s"}`;
}

function ask(model, message) {
  try {
    model.send(message);
  } catch (error) {
    console.debug("rtnb: no kernel to ask", error); // the view says so when no answer comes
  }
}

// --- the window, brought up to date by what the kernel sends ------------------------------------

function patched(old, patch) {
  const { kind, base, order, rows, ...changed } = patch;
  const next = { ...old, ...changed };
  if (!order) return next;
  const known = new Map(old.rows.map((row) => [row[0], row]));
  for (const row of rows) known.set(row[0], row);
  next.rows = order.map((number) => known.get(number));
  return next.rows.includes(undefined) ? null : next;
}

function initialize({ model }) {
  let asked = 0;
  const hear = (message) => {
    if (!message || message.kind !== "patch") return;
    const old = model.get("window");
    if (message.seq <= old.seq) return;
    const next = message.base === old.seq ? patched(old, message) : null;
    if (next) {
      model.set("window", next); // not saved to the kernel: it is where this came from
    } else if (Date.now() - asked > 500) {
      asked = Date.now();
      ask(model, { kind: "hello" });
    }
  };
  model.on("msg:custom", hear);
  return () => model.off("msg:custom", hear);
}

// --- one view -----------------------------------------------------------------------------------

class View {
  constructor(model, element) {
    this.model = model;
    this.id = `rtnb-insp-${(views += 1)}`;
    this.entries = new Map(); // row number -> what stands in the page for it
    this.open = new Map(); // row number -> {detail, children: Map(index -> json), list, more, most}
    this.current = null; // row number that Tab leads to
    this.pending = null;
    this.spoken = 0;
    this.root = make("div", "rtnb rtnb-insp");
    this.controls();
    this.list = make("div", "rtnb-ev-list", "", { role: "treegrid", "aria-label": "Events" });
    this.spacer = make("div", "", "", { role: "presentation" });
    this.list.append(this.spacer);
    this.root.append(this.list);
    this.pager();
    element.append(this.root);
    this.root.addEventListener("keydown", (event) => this.key(event));
    this.list.addEventListener("click", (event) => this.click(event));
    this.list.addEventListener("focusin", (event) => this.focused(event));
  }

  // The parts ------------------------------------------------------------------------------------

  controls() {
    const bar = make("div", "rtnb-insp-bar", "", { role: "toolbar", "aria-label": "Filter" });
    this.pattern = this.field(bar, "text", "Type, e.g. response.*", "Filter by type, a glob");
    this.search = this.field(bar, "search", "Search ( / )", "Search in type, text and JSON");
    this.turn = this.choice(bar, "Turn");
    this.direction = this.choice(bar, "Direction");
    for (const [value, label] of [["", "sent and received"], ["sent", "sent"], ["received", "received"]]) {
      this.direction.append(make("option", "", label, { value }));
    }
    const errors = make("label", "rtnb-insp-check");
    this.errors = make("input", "", "", { type: "checkbox" });
    errors.append(this.errors, " errors only");
    this.errors.addEventListener("change", () => this.query(0));
    this.pause = this.button("Pause", () => this.toggle(), "Pause or follow (p)");
    bar.append(errors, this.pause);
    this.types = make("details", "rtnb-insp-types");
    this.chips = make("div", "rtnb-insp-chips");
    this.types.append(make("summary", "rtnb-muted", "Events by type"), this.chips);
    this.types.addEventListener("toggle", () => this.showTypes());
    this.status = make("div", "rtnb-insp-status");
    this.live = make("div", "rtnb-insp-live", "", { "aria-live": "polite", role: "status" });
    this.root.append(bar, this.status, this.live, this.types);
  }

  field(bar, type, placeholder, label) {
    const node = make("input", "", "", { type, placeholder, "aria-label": label, maxlength: 200, spellcheck: "false" });
    node.addEventListener("input", () => this.query(150));
    bar.append(node);
    return node;
  }

  choice(bar, label) {
    const node = make("select", "", "", { "aria-label": label });
    node.addEventListener("change", () => this.query(0));
    bar.append(node);
    return node;
  }

  button(label, action, title = "") {
    const node = make("button", "rtnb-insp-button", label, { type: "button" });
    if (title) node.title = title;
    node.addEventListener("click", action);
    return node;
  }

  pager() {
    const bar = make("div", "rtnb-insp-pager", "", { role: "toolbar", "aria-label": "Pages" });
    this.newest = this.button("Newest", () => this.page("follow"));
    this.newer = this.button("Newer", () => this.page("newer"));
    this.older = this.button("Older", () => this.page("older"));
    this.oldest = this.button("Oldest", () => this.page("oldest"));
    this.where = make("span", "rtnb-figures");
    bar.append(this.newest, this.newer, this.older, this.oldest, this.where);
    this.root.append(bar);
  }

  // What is asked of the kernel --------------------------------------------------------------------

  query(delay) {
    clearTimeout(this.pending);
    this.pending = setTimeout(() => {
      this.pending = null;
      this.jump = true;
      ask(this.model, {
        kind: "query",
        pattern: this.pattern.value,
        search: this.search.value,
        direction: this.direction.value,
        errors: this.errors.checked,
        turn: this.turn.value === "" ? null : Number(this.turn.value),
      });
    }, delay);
  }

  toggle() {
    const paused = this.model.get("window").paused;
    if (paused) this.page("follow");
    else if (!this.pause.disabled) ask(this.model, { kind: "pause" });
  }

  page(kind) {
    this.jump = true;
    ask(this.model, { kind });
    if (kind === "follow") this.list.scrollTop = 0;
  }

  hello() {
    this.heard = false;
    ask(this.model, { kind: "hello" });
    this.waiting = setTimeout(() => {
      if (!this.heard) this.update();
    }, PATIENCE);
    this.asked = Date.now();
  }

  here() {
    if (document.hidden || !this.root.isConnected) return;
    ask(this.model, { kind: this.heard ? "here" : "hello" });
  }

  // The rows ---------------------------------------------------------------------------------------

  update() {
    const window = this.model.get("window");
    if (!window || !window.rows) return;
    this.showState(window);
    const anchor = this.jump ? null : this.anchor();
    this.jump = false;
    this.showRows(window);
    this.spacer.style.height = "0";
    if (!anchor || !anchor.node.isConnected) return;
    const top = anchor.node.offsetTop - anchor.at;
    const missing = top + this.list.clientHeight - this.spacer.offsetTop; // below the last row
    if (missing > 0) this.spacer.style.height = `${missing}px`;
    this.list.scrollTop = top;
  }

  anchor() {
    // what is being read stays where it is: the row with the focus, an unfolded one, or the first
    const top = this.list.scrollTop;
    const bottom = top + this.list.clientHeight;
    const seen = (node) => node && node.offsetTop < bottom && node.offsetTop + node.offsetHeight > top;
    const focus = this.list.contains(document.activeElement) && document.activeElement.closest(".rtnb-ev");
    const nodes = [focus, ...[...this.open.keys()].map((number) => this.entries.get(number)?.node)];
    let node = nodes.find(seen);
    if (!node && top > 0) node = [...this.list.querySelectorAll(".rtnb-ev")].find(seen);
    return node ? { node, at: node.offsetTop - top } : null;
  }

  showRows(window) {
    const rows = new Map(window.rows.map((row) => [row[0], row]));
    const asked = JSON.stringify(window.query);
    if (asked !== this.asked_for || window.paused) this.forget(rows);
    this.asked_for = asked;
    for (const [number, entry] of this.entries) {
      if (rows.has(number)) continue;
      if (this.open.has(number) || entry.node.contains(document.activeElement)) {
        rows.set(number, entry.row); // out of the window, but being read
      } else {
        entry.node.remove();
        this.entries.delete(number);
      }
    }
    const numbers = [...rows.keys()].sort((a, b) => b - a);
    let next = this.list.firstChild;
    for (const number of numbers) {
      const entry = this.entries.get(number) || this.entry(number);
      if (entry.node === next) next = next.nextSibling;
      else this.list.insertBefore(entry.node, next);
      this.fill(entry, rows.get(number));
    }
    if (!this.entries.has(this.current)) this.current = numbers.length ? numbers[0] : null;
    for (const [number, entry] of this.entries) entry.line.tabIndex = number === this.current ? 0 : -1;
  }

  forget(rows) {
    for (const number of [...this.open.keys()]) {
      if (!rows.has(number)) this.open.delete(number);
    }
  }

  entry(number) {
    const node = make("div", "rtnb-ev", "", { role: "rowgroup", "data-row": number });
    const line = make("div", "rtnb-ev-line", "", { role: "row", "aria-level": 1, "aria-expanded": "false", tabindex: -1 });
    const cells = ["time", "arrow", "type", "said"].map((name) => make("span", `rtnb-ev-${name}`, "", { role: "gridcell" }));
    const [time, arrow, type, said] = cells;
    const mark = make("span", "rtnb-ev-mark");
    const span = make("span", "rtnb-ev-count");
    const words = make("bdi");
    said.append(mark, " ", span, " ", words);
    line.append(...cells);
    node.append(line);
    const entry = { number, node, line, time, arrow, type, mark, span, words, row: [] };
    this.entries.set(number, entry);
    return entry;
  }

  fill(entry, row) {
    if (entry.row === row) return;
    const [, time, sent, type, kind, span, summary] = row;
    const before = entry.row;
    entry.row = row;
    const side = sent ? "sent" : "received";
    const tool = type.includes("function_call") ? " rtnb-ev-tool" : "";
    entry.node.className = `rtnb-ev rtnb-ev-${side}${tool}${kind ? ` rtnb-ev-${kind}` : ""}`;
    entry.node.dataset.type = type;
    entry.node.dataset.kind = kind;
    setText(entry.time, time);
    setText(entry.arrow, sent ? "→" : "←");
    entry.arrow.setAttribute("aria-label", side);
    if (before[3] !== type) {
      entry.type.replaceChildren(...type.split(/(?<=[._])/).flatMap((part) => [part, make("wbr")]));
    }
    setText(entry.mark, kind);
    entry.mark.hidden = !kind;
    setText(entry.span, span);
    entry.span.hidden = !span;
    setText(entry.words, summary);
    const opened = this.open.get(entry.number);
    if (before.length && before[5] !== span && opened) this.askLines(entry.number, opened);
  }

  // Folding ----------------------------------------------------------------------------------------

  unfold(number) {
    const entry = this.entries.get(number);
    if (!entry || this.open.has(number)) return;
    if (this.open.size >= MOST_UNFOLDED) this.fold(this.open.keys().next().value);
    const detail = make("div", "rtnb-ev-detail", "", { role: "presentation" });
    entry.node.append(detail);
    entry.line.setAttribute("aria-expanded", "true");
    const opened = { detail, children: new Map(), list: null, more: null, most: LINES };
    this.open.set(number, opened);
    this.say(detail, "Waiting for the kernel …");
    this.askLines(number, opened);
  }

  askLines(number, opened) {
    // only those that are not here, and none beyond what the user wants to see
    const first = opened.list ? opened.list.children.length : 0;
    if (first < opened.most) ask(this.model, { kind: "open", row: number, event: null, first });
    else if (!opened.more.isConnected) opened.list.after(opened.more);
  }

  fold(number) {
    const opened = this.open.get(number);
    this.open.delete(number);
    opened?.detail.remove();
    this.entries.get(number)?.line.setAttribute("aria-expanded", "false");
  }

  say(detail, words) {
    const note = make("p", "rtnb-muted", words);
    detail.replaceChildren(this.cell(note));
    setTimeout(() => {
      if (note.isConnected) {
        note.textContent = "No answer: the kernel is busy, or this notebook was opened without one.";
      }
    }, PATIENCE);
  }

  showDetail(message) {
    const opened = this.open.get(message.row);
    if (!opened) return;
    this.heard = true;
    if (message.events) this.showEvents(opened, message);
    else if (message.event === null) opened.detail.replaceChildren(this.json(message.json));
    else {
      const child = opened.children.get(message.event);
      child?.replaceChildren(this.json(message.json));
    }
  }

  json(text) {
    return this.cell(make("pre", "rtnb-ev-json", text, { tabindex: 0, "aria-label": "JSON" }));
  }

  cell(node) {
    const row = make("div", "", "", { role: "row", "aria-level": 2 });
    const cell = make("div", "", "", { role: "gridcell" });
    cell.append(node);
    row.append(cell);
    return row;
  }

  showEvents(opened, { first, count, events }) {
    if (!opened.list) this.listEvents(opened);
    const { list, more } = opened;
    const shown = list.children.length;
    if (first > shown) return; // an answer to another view, which has more of them
    const fresh = events.slice(shown - first, opened.most - first);
    list.append(...fresh.map((event, index) => this.single(shown + index, event)));
    const next = document.activeElement === more && list.children[shown];
    if (next) next.firstChild.focus({ preventScroll: true }); // reading goes on where it stopped
    if (list.children.length >= count) more.remove();
    else if (!more.isConnected) list.after(more);
  }

  listEvents(opened) {
    const box = make("div", "rtnb-ev-children", "", { role: "presentation" });
    opened.list = make("div", "", "", { role: "presentation" });
    opened.more = make("div", "rtnb-ev-line rtnb-ev-child rtnb-ev-more", "", { role: "row", "aria-level": 2, tabindex: -1 });
    const cell = make("span", "", "", { role: "gridcell" });
    cell.append(make("button", "rtnb-insp-button", `Show ${LINES} more`, { type: "button", tabindex: -1 }));
    opened.more.append(make("span", "", "", { role: "presentation" }), cell);
    box.append(opened.list);
    opened.detail.replaceChildren(box);
  }

  single(index, [time, words]) {
    const child = make("div", "rtnb-ev-single", "", { role: "presentation", "data-event": index });
    const line = make("div", "rtnb-ev-line rtnb-ev-child", "", { role: "row", "aria-level": 2, "aria-expanded": "false", tabindex: -1 });
    line.append(make("span", "rtnb-ev-time", time, { role: "gridcell" }), make("bdi", "", words, { role: "gridcell" }));
    child.append(line);
    return child;
  }

  showMore(number) {
    const opened = this.open.get(number);
    const shown = opened.list.children.length;
    opened.most = Math.floor(shown / LINES) * LINES + LINES; // again, it asks again
    this.askLines(number, opened);
  }

  toggleLine(line) {
    const number = Number(line.closest(".rtnb-ev").dataset.row);
    if (line.classList.contains("rtnb-ev-more")) this.showMore(number);
    else if (line.classList.contains("rtnb-ev-child")) {
      const child = line.closest(".rtnb-ev-single");
      this.toggleChild(number, Number(child.dataset.event), child, line);
    } else if (this.open.has(number)) this.fold(number);
    else this.unfold(number);
  }

  toggleChild(number, index, child, line) {
    const opened = this.open.get(number);
    const known = opened.children.get(index);
    line.setAttribute("aria-expanded", known ? "false" : "true");
    if (known) {
      known.remove();
      opened.children.delete(index);
      return;
    }
    const detail = make("div", "rtnb-ev-detail", "", { role: "presentation" });
    child.append(detail);
    opened.children.set(index, detail);
    this.say(detail, "Waiting for the kernel …");
    ask(this.model, { kind: "open", row: number, event: index });
  }

  // What the user does -----------------------------------------------------------------------------

  click(event) {
    const line = event.target.closest(".rtnb-ev-line");
    if (!line) return;
    line.focus();
    if (document.getSelection().isCollapsed) this.toggleLine(line); // else text was selected
  }

  focused(event) {
    const node = event.target.closest(".rtnb-ev");
    if (!node) return;
    const before = this.entries.get(this.current);
    if (before) before.line.tabIndex = -1;
    this.current = Number(node.dataset.row);
    this.entries.get(this.current).line.tabIndex = 0;
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    event.stopPropagation(); // or the notebook takes it for a command of its own
    const typing = event.target.matches("input:not([type=checkbox]), select");
    if (typing && event.key !== "Escape") return;
    const done = typing ? this.leaveField(event) : this.command(event.key, event.target);
    if (done) event.preventDefault();
  }

  keepKeys(event) {
    // JupyterLab hears keys before we do; it leaves plain ones to an element with this attribute
    const plain = !event.ctrlKey && !event.metaKey && !event.altKey;
    this.root.toggleAttribute("data-lm-suppress-shortcuts", plain);
  }

  leaveField(event) {
    if (event.target !== this.pattern && event.target !== this.search) return false;
    if (event.target.value) {
      event.target.value = "";
      this.query(0);
    } else this.entries.get(this.current)?.line.focus();
    return true;
  }

  command(key, target) {
    if (key === "/") return this.search.focus(), true;
    if (key === "p" || key === "P") return this.toggle(), true;
    if (!this.list.contains(target)) return false;
    const line = target.closest(".rtnb-ev-line");
    if (key === "Escape") return this.escape(target, line);
    if (!line) return false; // in the JSON, whose keys scroll it
    const step = { ArrowUp: -1, ArrowDown: 1, PageUp: -10, PageDown: 10, Home: -Infinity, End: Infinity }[key];
    if (step !== undefined) return this.move(line, step);
    const open = line.getAttribute("aria-expanded") === "true";
    if (key === "Enter" || key === " " || (key === "ArrowRight" && !open) || (key === "ArrowLeft" && open)) {
      return this.toggleLine(line), true;
    }
    return false;
  }

  escape(target, line) {
    const owner = line || target.closest(".rtnb-ev-single, .rtnb-ev").querySelector(".rtnb-ev-line");
    const open = owner.getAttribute("aria-expanded") === "true";
    const main = owner.closest(".rtnb-ev").querySelector(".rtnb-ev-line");
    const folded = open ? owner : main;
    if (folded.getAttribute("aria-expanded") === "true") this.toggleLine(folded);
    folded.focus();
    return true;
  }

  move(line, step) {
    const lines = [...this.list.querySelectorAll(".rtnb-ev-line")];
    const to = Math.min(Math.max(lines.indexOf(line) + step, 0), lines.length - 1);
    lines[to].focus({ preventScroll: true });
    lines[to].scrollIntoView({ block: "nearest" });
    return true;
  }

  // The state of it --------------------------------------------------------------------------------

  showState(window) {
    const away = !this.heard && Date.now() - this.asked >= PATIENCE;
    const state = away ? "saved" : window.paused ? "paused" : window.over ? "over" : "following";
    this.root.dataset.state = state;
    this.root.dataset.total = window.total;
    this.root.dataset.matching = window.matching;
    this.root.dataset.newer = window.newer;
    const words = {
      saved: "no kernel answers: as it was saved",
      paused: window.newer ? `paused, ${window.newer.toLocaleString("en")} newer` : "paused",
      over: "all there is",
      following: "following",
    }[state];
    const total = `${count(window.total, "event")} in ${count(window.folded, "row")}`;
    const errors = window.errors ? `, ${count(window.errors, "error")}` : "";
    setText(this.status, `${window.source}: ${total}${errors} · ${window.searching ? "searching …" : words}`);
    setText(this.pause, window.paused ? "Follow" : "Pause");
    this.pause.setAttribute("aria-pressed", window.paused);
    this.pause.disabled = window.over && !window.paused;
    this.announce(`${count(window.total, "event")}${errors}`);
    this.showPages(window);
    this.showQuery(window);
    if (this.types.open) this.showTypes();
  }

  announce(total) {
    if (Date.now() - this.spoken < SPOKEN) return;
    this.spoken = Date.now();
    setText(this.live, total);
  }

  showPages(window) {
    const { newer, older, matching, rows } = window;
    this.newest.disabled = this.newer.disabled = newer === 0;
    this.older.disabled = this.oldest.disabled = older === 0;
    const span = rows.length ? `rows ${(newer + 1).toLocaleString("en")} to ${(newer + rows.length).toLocaleString("en")}` : "no rows";
    const all = matching === window.folded ? "" : " that match";
    setText(this.where, `${span} of ${matching.toLocaleString("en")}${all}, newest first`);
  }

  showQuery(window) {
    const { pattern, search, direction, errors, turn } = window.query;
    const turns = JSON.stringify(window.turns);
    if (turns !== this.turns) {
      this.turns = turns;
      const options = window.turns.map(([number, label]) =>
        make("option", "", `turn ${number}${label ? `: ${label}` : ""}`, { value: number }),
      );
      this.turn.replaceChildren(make("option", "", "all turns", { value: "" }), ...options);
      this.turn.hidden = !window.turns.length;
      this.turn.value = turn === null ? "" : String(turn);
    }
    if (this.pending !== null || this.root.querySelector(".rtnb-insp-bar").contains(document.activeElement)) return;
    this.pattern.value = pattern === "*" ? "" : pattern;
    this.search.value = search;
    this.direction.value = direction;
    this.errors.checked = errors;
    this.turn.value = turn === null ? "" : String(turn);
  }

  showTypes() {
    const { counts } = this.model.get("window");
    while (this.chips.children.length > counts.length) this.chips.lastChild.remove();
    counts.forEach(([type, number], index) => {
      let chip = this.chips.children[index];
      if (!chip) {
        chip = this.button("", () => {
          this.pattern.value = chip.dataset.type;
          this.query(0);
        });
        this.chips.append(chip);
      }
      chip.dataset.type = type;
      setText(chip, `${type || "unreadable"} ${number.toLocaleString("en")}`);
    });
  }
}

function render({ model, el }) {
  const view = new View(model, el);
  const change = () => {
    view.heard = true;
    view.update();
  };
  const hear = (message) => {
    if (message && message.kind === "detail") view.showDetail(message);
  };
  const keep = (event) => view.keepKeys(event);
  window.addEventListener("keydown", keep, true);
  model.on("change:window", change);
  model.on("msg:custom", hear);
  const presence = setInterval(() => view.here(), PRESENCE);
  view.hello();
  view.update();
  return () => {
    window.removeEventListener("keydown", keep, true);
    model.off("change:window", change);
    model.off("msg:custom", hear);
    clearInterval(presence);
    clearTimeout(view.waiting);
    clearTimeout(view.pending);
  };
}

export default { initialize, render };
