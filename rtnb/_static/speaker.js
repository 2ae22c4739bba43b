// The page's side of rtnb.Speaker: plays what a call hears, as it comes in messages of the kernel.
//
// For tests and other scripts of the page: the element .rtnb-speaker has the property `rtnbAudio`,
// { context, output }, the AudioContext and the last node before its destination.

const RATE = 48000; // Hz
const PRESENCE = 10000; // ms between two words that this page is there
const REPORT = 1000; // ms between two reports of what was played
const PATIENCE = 5000; // ms without an answer after which the kernel is taken to be away or busy
const PINGS = 4; // exchanges with the kernel by which its clock is known
const FLOOR = -60; // dBFS at which the meter begins
// what all views of a model in this page share, by the model's id
const models = new Map();
const players = new Map();

// --- where samples are played: this function runs in an AudioWorklet ------------------------------

function playoutProcessor() {
  const BLOCK = 960; // samples: what is skipped or dropped at once
  const FADE = 240;
  const LEAST = 1920; // buffered before it plays, to begin with
  const MOST = 19200;
  const GROWTH = 960; // more of it on an underrun
  const CALM = 144000; // played without an underrun until less of it is tried
  const KEPT = 48000; // the most that is buffered
  const SILENT = 10 ** (-50 / 20);
  const TOLD = 4800; // samples between two words to the page

  class Playout extends AudioWorkletProcessor {
    constructor() {
      super();
      this.wanted = LEAST;
      this.counts = { underruns: 0, dropped: 0, skipped: 0 };
      this.beCalm();
      this.fading = null; // what was cut, on its way out
      this.ending = 0; // the last sample before it ran dry, on its way to 0
      this.told = 0; // samples since
      this.toldOfPlaying = false;
      this.played = []; // [number, frame at which it began]
      this.clear();
      this.port.onmessage = ({ data }) => (data.kind === "push" ? this.push(data) : this.flush());
    }

    beCalm() {
      this.calm = 0; // samples played since
      this.soonest = Infinity; // of the ways since: the frame of arrival less the position
      this.latest = -Infinity;
    }

    clear() {
      this.queue = []; // blocks: {number or null, samples, silent}
      this.taken = 0; // samples of the first block that are played
      this.queued = 0;
      this.expected = null; // position of the stretch that comes next
      this.playing = false;
      this.dry = false; // it played until there was nothing left
      this.since = 0; // frame from which on the first block has waited
      this.rise = FADE; // samples of the fade in that are done
    }

    push({ number, position, samples }) {
      const gap = this.expected === null ? -1 : position - this.expected;
      if (gap > 0 && this.queue.length) this.append(null, new Float32Array(Math.min(gap, KEPT)));
      if (gap === 0 && this.dry) this.underrun();
      this.dry = false;
      this.soonest = Math.min(this.soonest, currentFrame - position);
      this.latest = Math.max(this.latest, currentFrame - position);
      this.expected = position + samples.length;
      this.append(number, samples);
      while (this.queued > KEPT) {
        this.counts.dropped += 1;
        this.next();
      }
    }

    append(number, samples) {
      if (!this.queue.length) this.since = currentFrame;
      for (let first = 0; first < samples.length; first += BLOCK) {
        const block = samples.subarray(first, first + BLOCK);
        const power = block.reduce((sum, value) => sum + value * value, 0) / block.length;
        const silent = Math.sqrt(power) < SILENT;
        this.queue.push({ number: first ? null : number, samples: block, silent });
        this.queued += block.length;
      }
    }

    underrun() {
      this.counts.underruns += 1;
      this.wanted = Math.min(this.wanted + GROWTH, MOST);
      this.rise = 0;
      this.beCalm();
    }

    next() {
      const block = this.queue.shift();
      this.queued -= block.samples.length - this.taken;
      this.taken = 0;
    }

    // Silence goes where more is buffered than wanted.
    skip() {
      while (this.queue.length > 1 && this.queue[0].silent) {
        if (this.queued - this.queue[0].samples.length < this.wanted) return;
        this.counts.skipped += 1;
        this.next();
      }
    }

    sample(at) {
      if (!this.taken) {
        this.skip();
        const { number } = this.queue[0];
        if (number !== null) this.played.push([number, at]);
      }
      const { samples } = this.queue[0];
      const value = samples[this.taken];
      this.taken += 1;
      this.queued -= 1;
      if (this.taken === samples.length) this.next();
      return value;
    }

    flush() {
      const cut = this.playing ? Math.min(FADE, this.queued) : 0;
      const fading = new Float32Array(cut);
      for (let i = 0; i < cut; i += 1) fading[i] = this.sample(currentFrame + i) * (1 - i / FADE);
      this.clear();
      this.fading = cut ? { samples: fading, at: 0 } : null;
      this.told = TOLD;
    }

    begins() {
      if (this.playing || !this.queue.length) return this.playing;
      // a stretch that is shorter than what is wanted must not wait for ever
      return this.queued >= this.wanted || currentFrame - this.since >= this.wanted;
    }

    value(at) {
      if (!this.playing) return (this.ending *= 0.97);
      let value = this.sample(at);
      if (this.rise < FADE) value *= (this.rise += 1) / FADE;
      if (!this.queue.length) {
        this.playing = false;
        this.dry = true;
        this.ending = value;
      }
      return value;
    }

    process(_, [[output]]) {
      this.playing = this.begins();
      const playing = this.playing;
      for (let i = 0; i < output.length; i += 1) {
        output[i] = this.value(currentFrame + i);
        if (this.fading) {
          output[i] += this.fading.samples[this.fading.at++];
          if (this.fading.at === this.fading.samples.length) this.fading = null;
        }
      }
      if (playing) this.keepCalm(output.length);
      this.told += output.length;
      if (this.told >= TOLD && (playing || this.toldOfPlaying)) this.tell();
      return true;
    }

    // Half of what was never needed in a calm while is given up.
    keepCalm(samples) {
      this.calm += samples;
      if (this.calm < CALM) return;
      const needed = Math.max(this.latest - this.soonest + BLOCK, LEAST);
      if (needed < this.wanted) this.wanted = Math.floor((this.wanted + needed) / 2);
      this.beCalm();
    }

    tell() {
      const { playing, played, queued, wanted } = this;
      this.port.postMessage({ playing, played, queued, wanted, ...this.counts });
      this.counts = { underruns: 0, dropped: 0, skipped: 0 };
      this.played = [];
      this.told = 0;
      this.toldOfPlaying = playing;
    }
  }

  registerProcessor("rtnb-playout", Playout);
}

async function addProcessor(context) {
  const code = `(${playoutProcessor})()`;
  const url = URL.createObjectURL(new Blob([code], { type: "text/javascript" }));
  try {
    await context.audioWorklet.addModule(url);
  } catch {
    // where a page's policy forbids Blob URLs
    await context.audioWorklet.addModule(`data:text/javascript,${encodeURIComponent(code)}`);
  } finally {
    URL.revokeObjectURL(url);
  }
}

// --- what is sent, and how far the kernel's clock is from this one ---------------------------------

function samplesOf(message, buffers) {
  let bytes;
  const view = buffers && buffers[0];
  if (view) {
    const buffer = view.buffer || view;
    const start = view.byteOffset || 0;
    bytes = buffer.slice(start, start + view.byteLength); // a copy, so that it begins evenly
  } else if (typeof message.data === "string") {
    bytes = Uint8Array.from(atob(message.data), (letter) => letter.charCodeAt(0)).buffer;
  } else {
    return null;
  }
  return Float32Array.from(new Int16Array(bytes), (value) => value / 32768);
}

class Clock {
  constructor() {
    this.trips = []; // the newest exchanges: {trip, offset}, ms
    this.set();
  }

  // The page's clock may be set while it is open, so it is read anew now and then.
  set() {
    this.base = Date.now() + 0.5 - performance.now();
  }

  now() {
    return performance.now() + this.base;
  }

  exchanged(sent, kernel) {
    const now = this.now();
    if (!(now - sent >= 0)) return;
    this.trips = [...this.trips.slice(-9), { trip: now - sent, offset: kernel - (sent + now) / 2 }];
  }

  get best() {
    return this.trips.reduce((one, two) => (one && one.trip <= two.trip ? one : two), null);
  }
}

// --- one player for all views of a model in this page ----------------------------------------------

class Player {
  constructor(model) {
    this.model = model;
    this.page = `${Date.now().toString(36)}-${Math.random().toString(36).slice(2, 12)}`;
    this.clock = new Clock();
    this.views = new Set();
    this.binary = null; // whether buffers arrive here
    this.trouble = "";
    this.answered = null; // when the kernel was heard last
    this.began = performance.now();
    this.known = new Map(); // number -> [arrived at the wire, arrived here], ms
    this.state = { playing: false, queued: 0, wanted: 0 };
    this.underruns = 0;
    this.delay = null;
    this.fresh();
    this.hear = (message, buffers) => this.take(message, buffers);
    this.change = () => this.setVolume();
    this.leave = () => this.tell("gone");
    this.back = () => this.here();
    model.on("msg:custom", this.hear);
    model.on("change:volume change:muted", this.change);
    window.addEventListener("pagehide", this.leave);
    window.addEventListener("pageshow", this.back);
    this.timers = [setInterval(() => this.here(), PRESENCE), setInterval(() => this.report(), REPORT)];
    this.open();
    this.here();
  }

  async open() {
    try {
      this.context = new AudioContext({ sampleRate: RATE, latencyHint: "interactive" });
      if (!this.context.audioWorklet) throw new Error("sound needs a page with https, or of localhost");
      this.output = new GainNode(this.context);
      this.meter = new AnalyserNode(this.context, { fftSize: 2048 });
      this.output.connect(this.meter);
      this.output.connect(this.context.destination);
      this.setVolume();
      await addProcessor(this.context);
      if (this.closed) return;
      this.node = new AudioWorkletNode(this.context, "rtnb-playout", {
        numberOfInputs: 0,
        outputChannelCount: [1],
      });
      this.node.port.onmessage = ({ data }) => this.heard(data);
      this.node.connect(this.output);
      // what waits when sound is stopped must not come out later
      this.context.addEventListener("statechange", () => this.running || this.flush());
      this.listen();
    } catch (error) {
      this.trouble = `No sound: ${error.message}`;
    }
  }

  // Browsers may forbid sound until the user has clicked.
  listen() {
    if (this.context && this.context.state !== "closed") this.context.resume().catch(() => null);
  }

  get running() {
    return Boolean(this.node) && this.context.state === "running";
  }

  get waitsForClick() {
    return Boolean(this.node) && !this.running;
  }

  flush() {
    if (this.node) this.node.port.postMessage({ kind: "flush" });
  }

  setVolume() {
    const wanted = this.model.get("muted") ? 0 : this.model.get("volume");
    if (this.output) this.output.gain.setTargetAtTime(wanted, this.context.currentTime, 0.005);
  }

  // What the kernel says ---------------------------------------------------------------------------

  take(message, buffers) {
    if (!message || this.closed) return;
    this.answered = performance.now();
    if (message.kind === "audio") this.push(message, buffers);
    if (message.kind === "flush") this.flush();
    if (message.kind === "welcome" && message.page === this.page) {
      const first = this.binary === null;
      this.binary = Boolean(buffers && buffers[0] && buffers[0].byteLength);
      this.clock.exchanged(message.echo, message.now);
      if (first || this.clock.trips.length < PINGS) this.here();
    }
  }

  push({ number, position, arrived, data }, buffers) {
    const samples = samplesOf({ data }, buffers);
    if (!samples) {
      this.binary = false; // the kernel sends text when it knows
      this.here();
      return;
    }
    if (!this.running) return;
    this.known.set(number, [arrived, this.clock.now()]);
    if (this.known.size > 500) this.known.delete(this.known.keys().next().value);
    this.node.port.postMessage({ kind: "push", number, position, samples }, [samples.buffer]);
  }

  // What the worklet says --------------------------------------------------------------------------

  heard({ playing, played, queued, wanted, underruns, dropped, skipped }) {
    this.state = { playing, queued, wanted };
    this.underruns += underruns;
    this.counts.underruns += underruns;
    this.counts.dropped += dropped;
    this.counts.skipped += skipped;
    for (const [number, frame] of played) {
      const times = this.known.get(number);
      this.known.delete(number);
      if (!times) continue;
      const at = this.soundsAt(frame);
      this.played.push([times[1] - times[0], at - times[0]]);
      this.delay = at - times[0] - this.ahead;
    }
    this.played = this.played.slice(-200);
  }

  // When a frame leaves the machine, by this page's clock.
  soundsAt(frame) {
    const now = performance.now();
    const { context } = this;
    const stamp = context.getOutputTimestamp ? context.getOutputTimestamp() : {};
    const known = stamp.performanceTime > 0 && Math.abs(now - stamp.performanceTime) < 1000;
    const [ms, seconds] = known
      ? [stamp.performanceTime, stamp.contextTime]
      : [now, context.currentTime - (context.baseLatency || 0) - (context.outputLatency || 0)];
    return ms + 1000 * (frame / RATE - seconds) + this.clock.base;
  }

  get ahead() {
    const { best } = this.clock;
    return best && Math.abs(best.offset) > best.trip / 2 + 2 ? -best.offset : 0;
  }

  // What the kernel is told ------------------------------------------------------------------------

  tell(kind, more = {}) {
    try {
      this.model.send({ kind, page: this.page, ...more });
    } catch {
      this.answered = null; // no kernel; the status says so
    }
  }

  here() {
    this.clock.set();
    this.tell("here", { sent: this.clock.now(), binary: this.binary });
  }

  fresh() {
    this.counts = { underruns: 0, dropped: 0, skipped: 0 };
    this.played = [];
  }

  report() {
    const { played, counts } = this;
    if (!played.length && !Object.values(counts).some(Boolean)) return;
    const { best } = this.clock;
    this.tell("report", {
      played,
      ...counts,
      wanted: (1000 * this.state.wanted) / RATE,
      offset: best ? best.offset : null,
      trip: best ? best.trip : null,
    });
    this.fresh();
  }

  // For the eye ------------------------------------------------------------------------------------

  get level() {
    if (!this.meter) return FLOOR;
    const samples = new Float32Array(this.meter.fftSize);
    this.meter.getFloatTimeDomainData(samples);
    const power = samples.reduce((sum, value) => sum + value * value, 0) / samples.length;
    return Math.max(10 * Math.log10(power + 1e-12), FLOOR);
  }

  get status() {
    if (this.model.get("_over")) return ["closed", "Closed. Run the cell again for another one."];
    if (this.trouble) return ["trouble", this.trouble];
    if (this.answered === null) {
      const patient = performance.now() - this.began < PATIENCE;
      return ["away", patient ? "Waiting for the kernel" : "No answer: the kernel is busy or gone"];
    }
    if (!this.model.get("_attached")) return ["idle", "Not connected to a call"];
    if (this.waitsForClick) return ["blocked", "The browser waits for a click"];
    if (this.model.get("muted")) return ["muted", "Muted"];
    return this.state.playing ? ["playing", "Playing"] : ["waiting", "Waiting for sound"];
  }

  close() {
    if (this.closed) return;
    this.report();
    this.closed = true;
    this.tell("gone");
    this.timers.forEach(clearInterval);
    this.model.off("msg:custom", this.hear);
    this.model.off("change:volume change:muted", this.change);
    window.removeEventListener("pagehide", this.leave);
    window.removeEventListener("pageshow", this.back);
    if (this.node) this.node.disconnect();
    if (this.context && this.context.state !== "closed") this.context.close().catch(() => null);
  }
}

// --- one view ---------------------------------------------------------------------------------------

function make(tag, className = "", text = "", attributes = {}) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text) node.textContent = text;
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}

function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function initialize({ model }) {
  const id = model.get("_page_id");
  models.set(id, model);
  return () => models.delete(id);
}

function render({ model, el }) {
  const id = model.get("_page_id");
  // the model of one view hears no more when that view is gone
  if (!players.has(id)) players.set(id, new Player(models.get(id) || model));
  const player = players.get(id);
  const root = make("div", "rtnb rtnb-speaker", "", { role: "group", "aria-label": "Speaker" });
  const listen = make("button", "rtnb-sp-listen", "Click to listen", { type: "button", hidden: "" });
  const mute = make("button", "rtnb-sp-mute", "Mute", { type: "button", "aria-pressed": "false" });
  const label = make("label", "rtnb-sp-volume", "Volume");
  const volume = make("input", "", "", { type: "range", min: 0, max: 100, step: 1, "aria-label": "Volume" });
  const meter = make("i", "rtnb-sp-meter", "", {
    role: "meter", "aria-label": "Level", "aria-valuemin": FLOOR, "aria-valuemax": 0,
  });
  const bar = make("b");
  const status = make("span", "rtnb-sp-status", "", { role: "status" });
  const figures = make("span", "rtnb-figures rtnb-sp-figures");
  label.append(volume);
  meter.append(bar);
  root.append(listen, mute, label, meter, status, figures);
  el.append(root);
  Object.defineProperty(root, "rtnbAudio", {
    get: () => ({ context: player.context, output: player.output }),
  });

  const set = (name, value) => {
    model.set(name, value);
    try {
      model.save_changes();
    } catch {
      player.answered = null; // no kernel; what is set holds in the page
    }
  };
  listen.addEventListener("click", () => player.listen());
  mute.addEventListener("click", () => set("muted", !model.get("muted")));
  volume.addEventListener("input", () => set("volume", Number(volume.value) / 100));

  const show = () => {
    const [state, sentence] = player.status;
    if (state === "closed") player.close();
    const muted = model.get("muted");
    root.dataset.state = state;
    setText(status, sentence);
    listen.hidden = state === "closed" || !player.waitsForClick;
    mute.disabled = volume.disabled = state === "closed";
    mute.setAttribute("aria-pressed", String(muted));
    setText(mute, muted ? "Unmute" : "Mute");
    const percent = String(Math.round(100 * model.get("volume")));
    if (volume.value !== percent) volume.value = percent;
    const level = state === "closed" ? FLOOR : Math.round(player.level);
    bar.style.width = `${(100 * (level - FLOOR)) / -FLOOR}%`;
    meter.setAttribute("aria-valuenow", String(level));
    meter.setAttribute("aria-valuetext", level > FLOOR ? `${level} dBFS` : "silent");
    const delay = player.delay === null ? "–" : `${Math.round(player.delay)} ms`;
    setText(figures, `delay ${delay} · underruns ${player.underruns}`);
  };
  model.on("change:volume change:muted change:_attached change:_over", show);
  const timer = setInterval(show, 100);
  player.views.add(root);
  show();
  return () => {
    clearInterval(timer);
    model.off("change:volume change:muted change:_attached change:_over", show);
    player.views.delete(root);
    if (player.views.size) return;
    player.close();
    if (players.get(id) === player) players.delete(id);
  };
}

export { playoutProcessor }; // for tests, which run it on a clock of their own
export default { initialize, render };
