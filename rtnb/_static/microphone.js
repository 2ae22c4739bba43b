// The page's side of rtnb.Microphone: hears the microphone, and sends 20 ms chunks to the kernel over
// a comm of its own. Devices and their names, and what is heard, never enter the model's state.

const TICK = 70; // ms between two updates of the meter
const PRESENCE = 4000; // ms between two words that this page is there
const AGAIN = 2000; // ms between two greetings that are not answered
const BUSY = 600; // ms without an acknowledgement after which the kernel counts as busy
const DOUBT = 250; // ms for which that must last, as a page that was busy itself has answers to read
const MOST = 500; // chunks on their way: 10 s
const LATE = 300; // ms without an acknowledgement after which chunks go out five at a time
const TOGETHER = 5;
const KEPT = 100; // chunks for a call that wait beyond these: 2 s
const LONGEST = 600; // seconds of a take
const PER_SECOND = 50; // chunks
const QUIET = -60; // dBFS, where the meter begins

const WORKLET = `
registerProcessor("rtnb-chunks", class extends AudioWorkletProcessor {
  constructor() {
    super();
    this.size = Math.round(sampleRate / 50);
    this.running = true;
    this.port.onmessage = () => { this.running = false; };
    this.begin();
  }
  begin() {
    this.chunk = new Int16Array(this.size);
    this.filled = 0;
    this.peak = 0;
  }
  process([input]) {
    const samples = input[0];
    if (!samples) return this.running;
    for (let i = 0; i < samples.length; i += 1) {
      const value = Math.max(-1, Math.min(1, samples[i]));
      this.peak = Math.max(this.peak, Math.abs(value));
      this.chunk[this.filled] = Math.round(value * 32767);
      this.filled += 1;
      if (this.filled === this.size) this.post((samples.length - 1 - i) / sampleRate);
    }
    return this.running;
  }
  post(after) {
    const pcm = this.chunk.buffer;
    this.port.postMessage({ pcm, peak: this.peak, at: Date.now() / 1000 - after }, [pcm]);
    this.begin();
  }
});
`;

const SAID = {
  insecure:
    "This page may not use a microphone, as it did not come over https. Open the notebook as http://localhost or over https, then press Start.",
  denied:
    "The browser has refused the microphone. Allow it for this page, in its address bar or its settings, then press Start again.",
  dismissed: "The browser's question was not answered. Press Start again, and allow the microphone.",
  missing: "No microphone was found. Plug one in, or switch it on in the system's settings, then press Start again.",
  taken:
    "The microphone cannot be opened: another program may hold it, or the system keeps it from the browser. Close the other program or allow it in the system's settings, then press Start again.",
  policy:
    "This frame may not use the microphone: the page around it does not allow that. Record a file instead and read it with rtnb.Clip.read, or talk in the page of `rtnb serve` on your own computer.",
  colab:
    "In Colab: allow the microphone for the page in the browser's address bar, and reload it. If it is still refused, upload a recording with google.colab.files.upload() and read it with rtnb.Clip.read, or talk in the page of `rtnb serve` on your own computer.",
  gone: "The microphone is gone: it was unplugged, or its permission was taken back. Press Start to go on.",
  elsewhere: "The microphone was started in another page, which is heard now. Press Start to be heard here.",
  busy: "the kernel is busy and cannot hear you; it will when the running cell ends",
  away: "no kernel answers: it is busy, or this notebook was opened without one",
  alone: "not connected to a call",
};

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

function inColab() {
  return Boolean(globalThis.google?.colab) || location.hostname.endsWith("googleusercontent.com");
}

function forbidden() {
  const policy = document.permissionsPolicy || document.featurePolicy;
  return policy?.allowsFeature ? !policy.allowsFeature("microphone") : false;
}

// What went wrong, in words, and what to do.
function why(error) {
  if (!globalThis.isSecureContext || !navigator.mediaDevices?.getUserMedia) return SAID.insecure;
  const refused = error.name === "NotAllowedError" || error.name === "SecurityError";
  if (refused && inColab()) return SAID.colab;
  if (refused && forbidden()) return SAID.policy;
  if (refused) return /dismissed/i.test(error.message) ? SAID.dismissed : SAID.denied;
  if (error.name === "NotFoundError" || error.name === "OverconstrainedError") return SAID.missing;
  if (error.name === "NotReadableError" || error.name === "AbortError") return SAID.taken;
  return `The microphone cannot be used: ${error.name}: ${error.message}`;
}

function base64(buffer) {
  return btoa(String.fromCharCode(...new Uint8Array(buffer)));
}

function joined(buffers) {
  if (buffers.length === 1) return buffers[0];
  const all = new Uint8Array(buffers.reduce((sum, { byteLength }) => sum + byteLength, 0));
  let place = 0;
  for (const buffer of buffers) {
    all.set(new Uint8Array(buffer), place);
    place += buffer.byteLength;
  }
  return all.buffer;
}

function later(milliseconds, action) {
  const timer = setInterval(action, milliseconds);
  return () => clearInterval(timer);
}

// --- the way to the kernel ------------------------------------------------------------------------

class Way {
  constructor(model, changed, onAnswer) {
    this.page = globalThis.crypto?.randomUUID?.() || String(Math.random()).slice(2);
    this.model = model; // until the other one is found
    this.changed = changed;
    this.onAnswer = onAnswer;
    this.ready = false; // the kernel has answered
    this.buffers = true;
    this.queue = []; // {message, pcm} in order
    this.flying = []; // chunks that are not acknowledged, {number, sent}
    this.number = 0;
    this.dropped = 0;
    this.greeted = 0;
    this.began = Date.now();
    this.answered = 0; // when anything was acknowledged
    this.doubted = 0; // since when the kernel has seemed to be busy
    this.clock = null; // {ahead, within, at}
    this.hear = (message) => this.take(message);
  }

  async open(main) {
    const id = main.get("upload").replace("IPY_MODEL_", "");
    try {
      this.model = await main.widget_manager.get_model(id);
    } catch (error) {
      console.debug("rtnb: the microphone has no comm of its own here", error);
    }
    if (this.closed) return;
    this.model.on("msg:custom", this.hear);
    this.greet();
    this.end = later(AGAIN, () => this.here());
  }

  close() {
    this.closed = true;
    this.end?.();
    this.model.off?.("msg:custom", this.hear);
  }

  post(content, pcm) {
    try {
      this.model.send({ ...content, page: this.page }, undefined, pcm ? [pcm] : undefined);
    } catch (error) {
      console.debug("rtnb: no kernel to tell", error); // the status says so when no answer comes
    }
  }

  greet() {
    this.greeted = Date.now();
    this.post({ kind: "hello" }, new TextEncoder().encode("rtnb").buffer);
  }

  here() {
    if (!this.ready) this.greet();
    else if (Date.now() - this.greeted >= PRESENCE - AGAIN / 2) {
      this.greeted = Date.now();
      this.post({ kind: "here" });
    }
    this.changed();
  }

  say(message) {
    this.queue.push({ message });
    this.pump();
  }

  chunk(message, pcm) {
    this.queue.push({ message: { kind: "chunk", number: this.number, ...message }, pcm });
    this.number += 1;
    this.pump();
    this.drop();
  }

  // chunks of a take wait for as long as it may take; what a call would hear too late does not
  drop() {
    const live = ({ pcm, message }) => pcm && !message.take;
    let many = this.queue.length > KEPT ? this.queue.filter(live).length - KEPT : 0;
    if (many <= 0) return;
    this.dropped += many;
    this.queue = this.queue.filter((one) => !live(one) || (many -= 1) < 0);
  }

  pump() {
    while (this.ready && this.queue.length) {
      const { message, pcm } = this.queue[0];
      if (!pcm) this.post(this.queue.shift().message);
      else if (this.flying.length >= MOST) return;
      else {
        const count = this.alike(message);
        // fewer messages let those catch up that have too many; none waits for more of its kind
        if (this.late(LATE) && count < TOGETHER && count === this.queue.length) return;
        this.fly(this.queue.splice(0, this.late(LATE) ? count : 1));
      }
    }
  }

  // how many chunks of one kind the queue begins with, up to as many as go out together
  alike({ number, feed, take, rate }) {
    const same = ({ message: one, pcm }, index) =>
      pcm && one.number === number + index && one.feed === feed && one.take === take && one.rate === rate;
    const other = this.queue.slice(0, TOGETHER).findIndex((one, index) => !same(one, index));
    return other < 0 ? Math.min(this.queue.length, TOGETHER) : other;
  }

  fly(chunks) {
    const [{ message }] = chunks;
    const sent = Date.now();
    for (const one of chunks) this.flying.push({ number: one.message.number, sent });
    const clock = this.clock ? { ahead: this.clock.ahead, within: this.clock.within } : {};
    const { captured } = chunks[chunks.length - 1].message; // that of the last sample
    const content = { ...message, ...clock, captured, count: chunks.length };
    const pcm = joined(chunks.map((one) => one.pcm));
    if (this.buffers) this.post(content, pcm);
    else this.post({ ...content, pcm: base64(pcm) });
  }

  late(milliseconds) {
    const oldest = this.flying[0];
    return oldest !== undefined && Date.now() - oldest.sent > milliseconds;
  }

  take(message) {
    if (!message || message.page !== this.page) return;
    if (message.kind === "hello") {
      this.buffers = message.buffers;
      this.measure(this.greeted, message.at);
      this.ready = true;
    } else if (message.kind === "ack") this.acknowledge(message);
    this.onAnswer(message);
    this.pump();
    this.changed();
  }

  acknowledge({ number, at }) {
    const last = this.flying.find((one) => one.number === number);
    if (last) this.measure(last.sent, at);
    this.answered = Date.now();
    this.flying = this.flying.filter((one) => one.number > number);
  }

  // how far the kernel's clock is ahead, by the quickest answer of the last minute
  measure(sent, at) {
    const now = Date.now();
    const within = (now - sent) / 2000;
    if (this.clock && within > this.clock.within && now - this.clock.at < 60000) return;
    this.clock = { ahead: at - (now + sent) / 2000, within, at: now };
  }

  get away() {
    return !this.ready && Date.now() - this.began > BUSY * 8;
  }

  // whether nothing is heard; what comes late all the same is heard
  get busy() {
    const now = Date.now();
    const waits = this.queue.length > TOGETHER && (this.ready || now - this.began > BUSY);
    if (!(waits || this.late(BUSY)) || now - this.answered < BUSY) this.doubted = 0;
    else this.doubted = this.doubted || now;
    return this.doubted !== 0 && now - this.doubted > DOUBT;
  }
}

// --- the microphone of a page: one for all views of the model ----------------------------------------

class Ear {
  constructor(model) {
    this.model = model;
    this.views = new Set();
    this.phase = "off"; // "asking", "live"
    this.error = "";
    this.device = "";
    this.devices = [];
    this.muted = model.get("controls").muted === true;
    this.talk = model.get("controls").push_to_talk === true; // only while the button is held
    this.touched = false; // the user has changed one of these here
    this.held = false;
    this.sending = false;
    this.record = null; // {name, count, most}
    this.recorded = 0; // seconds of the last take
    this.records = 0;
    this.attempt = 0;
    this.level = 0;
    this.drawn = 0;
    this.way = new Way(model, () => this.changed(), (message) => this.answered(message));
    this.listen();
    this.way.open(model);
  }

  listen() {
    const on = {
      "change:controls": () => this.adopt(this.model.get("controls")),
      "change:attached": () => this.settle(),
      "change:trouble": () => this.changed(),
      "change:order": () => this.obey(this.model.get("order")),
      "change:over": () => this.stop(),
    };
    for (const [name, action] of Object.entries(on)) this.model.on(name, action);
    const leave = () => this.leave();
    window.addEventListener("pagehide", leave);
    this.deaf = () => {
      for (const [name, action] of Object.entries(on)) this.model.off(name, action);
      window.removeEventListener("pagehide", leave);
    };
  }

  // the model is closed, or the page's script is done with it
  close() {
    this.stop();
    this.deaf();
    this.way.post({ kind: "gone" });
    this.way.close();
  }

  leave() {
    this.stop();
    this.way.post({ kind: "gone" });
  }

  changed() {
    for (const view of this.views) view.update();
  }

  answered(message) {
    if (message.kind === "hello" && !this.touched) this.adopt(message);
    if (message.kind === "elsewhere" && this.phase === "live") this.stop(SAID.elsewhere);
  }

  adopt({ muted, push_to_talk: talk }) {
    this.muted = muted === true;
    this.talk = talk === true;
    this.settle();
  }

  // Starting and stopping ----------------------------------------------------------------------------

  async start() {
    if (this.phase !== "off" || this.model.get("over")) return;
    this.phase = "asking";
    this.error = "";
    this.attempt += 1;
    const mine = this.attempt;
    this.changed();
    try {
      const stream = await this.ask();
      const opened = mine === this.attempt ? await this.open(stream) : stream;
      if (mine !== this.attempt) release(opened);
      else this.live(opened);
    } catch (error) {
      if (mine === this.attempt) this.stop(why(error));
    }
  }

  ask() {
    const media = globalThis.isSecureContext && navigator.mediaDevices;
    if (!media?.getUserMedia) throw new Error("no media devices");
    const wanted = this.model.get("processing");
    const audio = {
      echoCancellation: wanted.echo_cancellation,
      noiseSuppression: wanted.noise_suppression,
      autoGainControl: wanted.auto_gain,
      channelCount: 1,
    };
    if (this.device) audio.deviceId = { ideal: this.device }; // any other one, if it was unplugged
    return media.getUserMedia({ audio });
  }

  async open(stream) {
    try {
      return await this.graph(stream, { sampleRate: 48000, latencyHint: "interactive" });
    } catch (error) {
      // where a stream cannot enter a context of another rate it enters one of its own
      console.debug("rtnb: no context at 48 kHz", error);
    }
    try {
      return await this.graph(stream, { latencyHint: "interactive" });
    } catch (error) {
      release({ stream });
      throw error;
    }
  }

  async graph(stream, options) {
    const context = new AudioContext(options);
    try {
      await addWorklet(context);
      const source = context.createMediaStreamSource(stream);
      const node = new AudioWorkletNode(context, "rtnb-chunks", {
        channelCount: 1,
        channelCountMode: "explicit",
        outputChannelCount: [1],
      });
      source.connect(node).connect(context.destination); // silent, but else it would not run
      await context.resume();
      return { stream, context, source, node };
    } catch (error) {
      context.close();
      throw error;
    }
  }

  live(opened) {
    this.opened = opened;
    this.phase = "live";
    this.rate = opened.context.sampleRate;
    opened.node.port.onmessage = ({ data }) => this.take(data);
    for (const track of opened.stream.getTracks()) {
      track.addEventListener("ended", () => this.opened === opened && this.stop(SAID.gone));
    }
    this.way.say({ kind: "start", rate: this.rate });
    this.way.say({ kind: "muted", value: this.muted }); // what was chosen before is news to the kernel
    this.way.say({ kind: "mode", value: this.talk });
    this.deviceChange = () => this.look();
    navigator.mediaDevices.addEventListener("devicechange", this.deviceChange);
    this.look();
    this.changed();
  }

  // the devices' names are known once there is permission; they stay in the page
  async look() {
    try {
      const all = await navigator.mediaDevices.enumerateDevices();
      this.devices = all.filter(({ kind }) => kind === "audioinput");
    } catch (error) {
      console.debug("rtnb: the microphones cannot be listed", error);
    }
    this.changed();
  }

  async choose(device) {
    this.device = device;
    if (this.phase !== "live") return;
    const recording = this.record;
    this.record = null; // it goes on with the other microphone
    this.stop();
    this.record = recording;
    await this.start();
    if (this.phase !== "live") this.endRecord();
  }

  stop(error = "") {
    this.attempt += 1;
    this.release();
    this.endRecord();
    const was = this.phase;
    this.phase = "off";
    this.error = error;
    this.sending = false;
    this.level = 0;
    if (this.opened) release(this.opened);
    this.opened = null;
    navigator.mediaDevices?.removeEventListener("devicechange", this.deviceChange);
    if (was === "live") this.way.say({ kind: "stop" });
    this.changed();
  }

  // What is heard ------------------------------------------------------------------------------------

  get feeding() {
    const wanted = this.model.get("attached") && !this.muted && (!this.talk || this.held);
    return this.phase === "live" && wanted === true;
  }

  take({ pcm, peak, at }) {
    if (this.phase !== "live") return;
    const feed = this.feeding;
    const take = this.muted || !this.record ? undefined : this.record.name;
    this.sending = feed;
    if (feed || take) this.way.chunk({ rate: this.rate, captured: at, feed, take }, pcm);
    if (take) this.count();
    this.level = Math.max(this.level, peak);
    const now = performance.now();
    if (now - this.drawn < TICK) return;
    this.drawn = now;
    for (const view of this.views) view.draw(this.level);
    this.level = 0;
    this.changed();
  }

  // something may have stopped what was sent: then silence is no loss
  settle() {
    if (this.sending && !this.feeding) {
      this.sending = false;
      this.way.say({ kind: "pause" });
    }
    this.changed();
  }

  // What the user does -------------------------------------------------------------------------------

  mute() {
    this.touched = true;
    this.muted = !this.muted;
    this.sending = false; // the kernel knows that a call hears nothing then
    this.way.say({ kind: "muted", value: this.muted });
    this.settle();
  }

  mode(talk) {
    this.touched = true;
    this.release();
    this.sending = false;
    this.talk = talk;
    this.way.say({ kind: "mode", value: talk });
    this.settle();
  }

  press() {
    if (this.held || this.phase !== "live" || !this.talk) return;
    this.held = true;
    this.way.say({ kind: "press" });
    this.changed();
  }

  release() {
    if (!this.held) return;
    this.held = false;
    this.sending = false;
    this.way.say({ kind: "release" });
    this.changed();
  }

  toggleRecord() {
    if (this.record) return this.endRecord();
    this.records += 1;
    this.beginRecord(`${this.way.page.slice(0, 8)}-${this.records}`, LONGEST);
  }

  // Takes --------------------------------------------------------------------------------------------

  obey({ take, seconds, end }) {
    if (end && this.record?.name === end) this.endRecord();
    if (take) this.beginRecord(take, seconds);
  }

  beginRecord(name, seconds) {
    if (this.phase !== "live") return;
    this.endRecord();
    this.record = { name, count: 0, most: Math.ceil(Math.min(seconds, LONGEST) * PER_SECOND) };
    this.way.say({ kind: "taking", take: name });
    this.changed();
  }

  count() {
    this.record.count += 1;
    if (this.record.count >= this.record.most) this.endRecord();
  }

  endRecord() {
    if (!this.record) return;
    const { name, count } = this.record;
    this.record = null;
    this.recorded = count / PER_SECOND;
    this.way.say({ kind: "took", take: name });
    this.changed();
  }

  // In words -----------------------------------------------------------------------------------------

  get state() {
    if (this.model.get("over")) return "closed";
    if (this.phase !== "live") return this.error ? "error" : this.phase;
    if (this.way.away) return "away";
    if ((this.feeding || this.record) && this.way.busy) return "busy";
    if (this.record) return "recording";
    if (this.muted) return "muted";
    if (!this.model.get("attached")) return "alone";
    return this.talk && !this.held ? "waiting" : "live";
  }

  words(state) {
    if (state === "recording") return `recording ${(this.record.count / PER_SECOND).toFixed(1)} s`;
    const words = {
      closed: "closed: run the cell again for another one",
      off: "off",
      error: "off",
      asking: "asking: answer the browser's question",
      away: SAID.away,
      busy: SAID.busy,
      muted: "muted: nothing is sent",
      alone: `live, ${SAID.alone}`,
      waiting: "live: hold the button, or the space bar on it, to talk",
      live: "live: the call hears you",
    }[state];
    const kept = this.recorded && !this.record;
    return kept ? `${words} · ${this.recorded.toFixed(1)} s recorded: mic.record() gives it` : words;
  }
}

// a stream, or all that was opened with one
function release(opened) {
  const stream = opened.stream || opened;
  for (const track of stream.getTracks()) track.stop();
  opened.source?.disconnect();
  opened.node?.disconnect();
  opened.node?.port.postMessage("end");
  opened.node?.port.close();
  opened.context?.close();
}

async function addWorklet(context) {
  const url = URL.createObjectURL(new Blob([WORKLET], { type: "text/javascript" }));
  try {
    await context.audioWorklet.addModule(url);
  } catch {
    await context.audioWorklet.addModule(`data:text/javascript,${encodeURIComponent(WORKLET)}`);
  } finally {
    URL.revokeObjectURL(url);
  }
}

// --- one view -------------------------------------------------------------------------------------

class View {
  constructor(ear, element) {
    this.ear = ear;
    this.root = make("div", "rtnb rtnb-mic", "", { role: "group", "aria-label": "Microphone" });
    const bar = make("div", "rtnb-mic-bar");
    this.power = this.button("Start", () => (ear.phase === "off" ? ear.start() : ear.stop()));
    this.mute = this.button("Mute", () => ear.mute());
    this.hold = this.button("Hold to talk", () => {});
    this.holding();
    this.record = this.button("Record", () => ear.toggleRecord());
    this.record.title = "record a take; mic.record() gives it as a clip";
    const talk = make("label", "rtnb-mic-check");
    this.talk = make("input", "", "", { type: "checkbox" });
    this.talk.addEventListener("change", () => ear.mode(this.talk.checked));
    talk.append(this.talk, " push to talk");
    this.device = make("select", "", "", { "aria-label": "Microphone to use" });
    this.device.addEventListener("change", () => ear.choose(this.device.value));
    bar.append(this.power, this.mute, this.hold, this.record, talk, this.device);
    this.meter = make("div", "rtnb-mic-meter", "", { role: "meter", "aria-label": "Level", "aria-valuemin": QUIET, "aria-valuemax": 0 });
    this.fill = make("div", "rtnb-mic-fill");
    this.meter.append(this.fill);
    this.status = make("div", "rtnb-mic-status");
    this.spoken = make("div", "rtnb-mic-spoken", "", { role: "status" });
    this.note = make("div", "rtnb-why rtnb-mic-note", "", { role: "alert" });
    this.root.append(bar, this.meter, this.status, this.spoken, this.note);
    // or the notebook takes them for commands of its own
    this.root.addEventListener("keydown", (event) => isPlain(event) && event.stopPropagation());
    this.keep = (event) => this.root.toggleAttribute("data-lm-suppress-shortcuts", isPlain(event));
    window.addEventListener("keydown", this.keep, true);
    element.append(this.root);
    this.draw(0);
    this.update();
  }

  button(label, action) {
    const node = make("button", "rtnb-mic-button", label, { type: "button" });
    node.addEventListener("click", action);
    return node;
  }

  holding() {
    const { hold, ear } = this;
    const isKey = (event) => event.key === " " || event.key === "Enter";
    hold.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      hold.setPointerCapture(event.pointerId); // let go outside the button counts too
      ear.press();
    });
    for (const kind of ["pointerup", "pointercancel", "lostpointercapture", "blur"]) {
      hold.addEventListener(kind, () => ear.release());
    }
    hold.addEventListener("keydown", (event) => {
      if (!isKey(event)) return;
      event.preventDefault();
      if (!event.repeat) ear.press();
    });
    hold.addEventListener("keyup", (event) => isKey(event) && ear.release());
  }

  draw(level) {
    const decibels = level > 0 ? Math.max(20 * Math.log10(level), QUIET) : QUIET;
    this.fill.style.transform = `scaleX(${(1 - decibels / QUIET).toFixed(3)})`;
    this.meter.setAttribute("aria-valuenow", Math.round(decibels));
  }

  update() {
    const { ear } = this;
    const state = ear.state;
    const live = ear.phase === "live";
    setText(this.power, ear.phase === "off" ? "Start" : "Stop");
    setText(this.mute, ear.muted ? "Unmute" : "Mute");
    setText(this.record, ear.record ? "Stop recording" : "Record");
    this.power.disabled = this.mute.disabled = this.talk.disabled = state === "closed";
    this.record.disabled = !live;
    this.hold.hidden = !ear.talk;
    this.hold.disabled = !live;
    this.talk.checked = ear.talk;
    for (const [node, on] of [[this.mute, ear.muted], [this.hold, ear.held], [this.record, ear.record !== null]]) {
      node.setAttribute("aria-pressed", String(on));
    }
    if (!live) this.draw(0);
    setText(this.status, ear.words(state));
    if (state !== this.root.dataset.state) setText(this.spoken, ear.words(state)); // not every second
    this.root.dataset.state = state;
    setText(this.note, ear.error || ear.model.get("trouble"));
    this.note.hidden = !this.note.textContent;
    this.choices();
  }

  choices() {
    const { devices, device, phase } = this.ear;
    this.device.hidden = phase !== "live" || devices.length === 0;
    const key = JSON.stringify(devices.map(({ deviceId, label }) => [deviceId, label]));
    if (key !== this.listed) {
      this.listed = key;
      this.device.replaceChildren(
        ...devices.map(({ deviceId, label }, index) =>
          make("option", "", label || `microphone ${index + 1}`, { value: deviceId }),
        ),
      );
      this.device.value = this.ear.opened?.stream.getAudioTracks()[0]?.getSettings().deviceId || device;
    }
  }

  close() {
    window.removeEventListener("keydown", this.keep, true);
  }
}

function isPlain(event) {
  return !event.ctrlKey && !event.metaKey && !event.altKey;
}

export default () => {
  let ear = null;
  return {
    initialize({ model }) {
      ear = new Ear(model);
      return () => ear.close();
    },
    render({ el }) {
      const view = new View(ear, el);
      ear.views.add(view);
      return () => {
        view.close();
        ear.views.delete(view);
        if (!ear.views.size) ear.stop(); // nobody could stop it
      };
    },
  };
};
