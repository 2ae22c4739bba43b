// One voice call from a browser: microphone, ephemeral key, WebRTC, events. Only W3C APIs and fetch;
// nothing is stored, and all text of others enters the page as text.

const ROWS = 500; // events that are kept
const PATIENCE = 15_000; // milliseconds for a key and a connection, once there is a microphone
const GRACE = 3_000; // milliseconds that a connection may be interrupted
const FLOOR = -60; // dB below full scale where a level's bar begins
const TRANSCRIPTION = { model: "gpt-4o-mini-transcribe" };
const COMMON = { headers: {}, cache: "no-store", credentials: "same-origin", redirect: "error" };

const at = Object.fromEntries([...document.querySelectorAll("[id]")].map((one) => [one.id, one]));

function element(name, className, text) {
  const one = document.createElement(name);
  if (className) one.className = className;
  if (text !== undefined) one.textContent = text;
  return one;
}

// --- what nobody may see -------------------------------------------------------------------------

const known = new Set(); // secrets in use now, whatever they look like
const SECRETS = [
  [/(\\[bfnrt]|\b)(?:sk-|ek_)[A-Za-z0-9_\-•*.]{3,}/g, "$1•••"],
  [/(bearer )[A-Za-z0-9._~+/=-]{6,}/gi, "$1•••"],
  [/(a=ice-pwd:)[^\s\\"]+/g, "$1•••"],
  [/("authorization"\s*:\s*")(?:[^"\\]|\\.)+/gi, "$1•••"],
  [/("client_secret"\s*:\s*(?:\{[^{}]*?"value"\s*:\s*)?")(?:[^"\\]|\\.)+/g, "$1•••"],
];

function masked(text) {
  let shown = String(text);
  for (const secret of [...known, access]) if (secret) shown = shown.replaceAll(secret, "•••");
  for (const [pattern, instead] of SECRETS) shown = shown.replace(pattern, instead);
  return shown;
}

// --- what went wrong, in one sentence ------------------------------------------------------------

class Problem extends Error {}

const DENIED = "The microphone was denied: allow it for this page in the browser's address bar";
const MICROPHONE = {
  NotAllowedError: DENIED,
  SecurityError: DENIED,
  NotFoundError: "No microphone was found: connect one",
  NotReadableError: "The microphone cannot be opened: close the program that uses it, or allow it in the "
    + "system's settings",
};

function microphoneProblem({ name }) {
  const what = MICROPHONE[name] ?? `The microphone cannot be used (${name}): try another one`;
  return new Problem(`${what}, then launch again.`);
}

async function said(response) {
  try {
    const text = (await response.text()).slice(0, 20_000);
    const { error, detail, message } = JSON.parse(text);
    const words = error?.message ?? message ?? detail ?? error;
    const code = error?.code ?? "";
    return { code: String(code), words: typeof words === "string" ? words : "" };
  } catch {
    return { code: "", words: "" }; // no JSON: the status has to do
  }
}

// "who" is what was asked: "key" for a standard key, "endpoint" for a token endpoint, "call".
async function refusal(response, who) {
  const { status, headers, url } = response;
  const { code, words } = await said(response);
  const short = masked(words).replace(/\s+/g, " ").trim().slice(0, 220);
  const because = `(${status})${short ? `: ${short.replace(/[^.!?…]$/, "$&.")}` : "."}`;
  if (status === 429) return new Problem(tooMany(code, because, headers.get("Retry-After")));
  if (status === 401 || status === 403) return new Problem(notAllowed(code, short, because, status, who));
  if (status === 404 || status === 405) {
    const { origin } = new URL(url);
    return new Problem(`${origin} does not take calls at this address ${because} Check the server's base URL.`);
  }
  if (status >= 500) return new Problem(`The server is in trouble ${because} Launch again in a moment.`);
  const asked = { key: "The request for an ephemeral key", endpoint: "The token endpoint's request", call: "The call" };
  return new Problem(`${asked[who]} was refused ${because}`);
}

function tooMany(code, because, after) {
  if (code === "insufficient_quota") {
    return `The account behind the key has no credit ${because} Add credit, or use another key.`;
  }
  const seconds = Number.parseInt(after, 10);
  const when = seconds >= 0 ? `in ${Math.max(1, seconds)} s` : "in a moment";
  return `Too many requests ${because} Launch again ${when}.`;
}

function notAllowed(code, words, because, status, who) {
  const needed = code === "access_token_needed";
  if (who === "endpoint") {
    return needed || !words
      ? `This server wants its access token (${status}): open the newest link to it, which ends in #access=….`
      : `The token endpoint gave no key ${because} Whoever runs it can put that right.`;
  }
  if (needed) return `This server calls with its own key only (${status}): leave the key empty, then launch again.`;
  if (/expire/i.test(code + words)) {
    return `The ephemeral key has expired (${status}): get a new one, then launch again.`;
  }
  return who === "call"
    ? `The ephemeral key was not accepted ${because} It is wrong or has expired: get a new one, then launch again.`
    : `The API key was not accepted ${because} Check it, then launch again.`;
}

async function ask(url, options, signal) {
  try {
    return await fetch(url, { ...COMMON, ...options, signal });
  } catch {
    if (signal?.aborted) throw new Over();
    throw new Problem(`${new URL(url).origin} cannot be reached: check that the server runs, then launch again.`);
  }
}

// --- levels --------------------------------------------------------------------------------------

class Level {
  #bar;
  #analyser = null;
  #source = null;
  #samples;
  #shown = 0;
  #told = 0;

  constructor(bar) {
    this.#bar = bar;
  }

  follow(context, stream) {
    this.stop();
    this.#analyser = new AnalyserNode(context, { fftSize: 1024 });
    this.#samples = new Float32Array(this.#analyser.fftSize);
    this.#source = context.createMediaStreamSource(stream);
    this.#source.connect(this.#analyser);
  }

  stop() {
    this.#source?.disconnect();
    this.#analyser = this.#source = null;
    this.#show(0, 0);
  }

  draw(now) {
    if (!this.#analyser) return;
    this.#analyser.getFloatTimeDomainData(this.#samples);
    let power = 0;
    for (const sample of this.#samples) power += sample * sample;
    const decibels = 10 * Math.log10(power / this.#samples.length + 1e-12);
    const share = Math.min(1, Math.max(0, 1 - decibels / FLOOR));
    this.#show(Math.max(share, this.#shown * 0.88), now); // falls more slowly than it rises
  }

  #show(share, now) {
    this.#shown = share < 0.004 ? 0 : share;
    this.#bar.firstElementChild.style.transform = `scaleX(${this.#shown.toFixed(3)})`;
    if (share && now - this.#told < 250) return;
    this.#told = now;
    const decibels = Math.round(FLOOR * (1 - this.#shown));
    this.#bar.setAttribute("aria-valuenow", decibels);
    this.#bar.setAttribute("aria-valuetext", this.#shown ? `${decibels} dB` : "silent");
  }
}

// --- the transcript ------------------------------------------------------------------------------

class Transcript {
  #box;
  #items = new Map(); // by id: { row, words, foot, parts, role, waits }
  #responses = new Map(); // ids of the items of a response
  #follows = true; // whether its end stays in sight
  #frame = 0;
  #top = 0;

  constructor(box) {
    this.#box = box;
    box.addEventListener("scroll", () => this.#scrolled(), { passive: true });
  }

  clear() {
    this.#box.replaceChildren();
    this.#items.clear();
    this.#responses.clear();
    this.#follows = true;
  }

  note(text, bad = false) {
    this.#box.append(element("div", bad ? "said note bad" : "said note", masked(text)));
    this.#keepEnd();
  }

  take(event) {
    this.#take(event);
    this.#keepEnd();
  }

  // Nothing more will come: what was waited for, is not known.
  settle() {
    for (const item of this.#items.values()) {
      if (item.waits) this.#wait(item, "(not transcribed)");
    }
  }

  #take(event) {
    const { type, item_id: id } = event;
    switch (type) {
      case "input_audio_buffer.speech_started":
        return this.#wait(this.#item(id, "user"), "speaking…");
      case "input_audio_buffer.committed":
        this.#wait(this.#item(id, "user"), "transcribing…");
        return this.#place(id, event.previous_item_id);
      case "input_audio_buffer.cleared":
        return this.#dropUnsaid();
      case "conversation.item.added":
      case "conversation.item.created":
      case "conversation.item.done":
        return this.#added(event.item ?? {}, event.previous_item_id);
      case "conversation.item.deleted":
        this.#items.get(id)?.row.remove();
        return this.#items.delete(id);
      case "conversation.item.input_audio_transcription.delta":
        return this.#say(this.#spoken(id), event.content_index, event.delta, true);
      case "conversation.item.input_audio_transcription.completed":
        return this.#say(this.#spoken(id), event.content_index, event.transcript || "(nothing was understood)");
      case "conversation.item.input_audio_transcription.failed":
        return this.#wait(this.#spoken(id), "(not transcribed)", event.error?.message);
      case "response.output_item.added":
        return this.#belongs(event.item ?? {}, event.response_id);
      case "response.output_audio_transcript.delta":
      case "response.output_text.delta":
        return this.#say(this.#item(id, "assistant"), event.content_index, event.delta, true);
      case "response.output_audio_transcript.done":
        return this.#say(this.#item(id, "assistant"), event.content_index, event.transcript);
      case "response.output_text.done":
        return this.#say(this.#item(id, "assistant"), event.content_index, event.text);
      case "response.function_call_arguments.done":
        return this.note(`The model called the tool ${event.name ?? ""}(${event.arguments ?? ""}); this page has no tools.`);
      case "conversation.item.truncated":
        return this.#mark(id, `interrupted after ${(event.audio_end_ms / 1000).toFixed(1)} s`);
      case "output_audio_buffer.cleared":
        return this.#ended(event.response_id, "interrupted");
      case "response.done":
        return this.#done(event.response ?? {});
      case "error":
        return this.note(`The server reports an error: ${event.error?.message ?? "no message"}`, true);
    }
  }

  #added(item, previous) {
    if (item.type !== "message" || !["user", "assistant"].includes(item.role)) return;
    const one = this.#item(item.id, item.role);
    this.#place(item.id, previous);
    (item.content ?? []).forEach((part, index) => {
      const words = part.text ?? part.transcript;
      if (words) this.#say(one, index, words);
    });
    const audio = (item.content ?? []).some((part) => part.type === "input_audio");
    if (audio && !one.parts.size && !one.words.textContent) this.#wait(one, "transcribing…");
  }

  #belongs(item, response) {
    if (item.type !== "message") return;
    this.#item(item.id, "assistant");
    const ids = this.#responses.get(response) ?? new Set();
    this.#responses.set(response, ids.add(item.id));
  }

  #done(response) {
    if (response.status === "cancelled") this.#ended(response.id, "interrupted");
    if (response.status === "incomplete") this.#ended(response.id, `cut short (${response.status_details?.reason ?? "incomplete"})`);
    if (response.status === "failed") {
      const { message, code } = response.status_details?.error ?? {};
      this.note(`The reply failed: ${message ?? code ?? "no reason was given"}`, true);
    }
  }

  #ended(response, how) {
    for (const id of this.#responses.get(response) ?? []) this.#mark(id, how);
  }

  // The first mark with a time stays; one without gives way.
  #mark(id, how) {
    const item = this.#items.get(id);
    if (!item || (item.foot.textContent && how === "interrupted")) return;
    item.foot.textContent = how;
    item.foot.hidden = false;
  }

  #item(id, role) {
    const there = this.#items.get(id);
    if (there) return there;
    const row = element("div", `said ${role}`);
    row.dataset.item = id;
    const item = { row, words: element("span"), foot: element("em"), parts: new Map(), role, waits: false };
    item.foot.hidden = true;
    row.append(element("b", "", role === "user" ? "You" : "Reply"), item.words, item.foot);
    this.#items.set(id, item);
    this.#box.append(row);
    return item;
  }

  // Of a server that says words of an item that it has not announced: they were before the answer.
  #spoken(id) {
    if (this.#items.has(id)) return this.#items.get(id);
    const rows = [...this.#box.querySelectorAll(".said:not(.note)")];
    const last = rows.at(-1);
    const item = this.#item(id, "user");
    if (last?.classList.contains("assistant")) last.before(item.row);
    return item;
  }

  #place(id, previous) {
    const row = this.#items.get(id)?.row;
    const before = this.#items.get(previous)?.row;
    if (row && before && before.compareDocumentPosition(row) & Node.DOCUMENT_POSITION_PRECEDING) before.after(row);
  }

  #say(item, index = 0, words = "", more = false) {
    item.waits = false;
    item.row.classList.remove("pending");
    item.parts.set(index, (more ? (item.parts.get(index) ?? "") : "") + words);
    item.words.textContent = masked([...item.parts.values()].join(" "));
  }

  #wait(item, words, why) {
    if (item.parts.size) return;
    item.waits = words.endsWith("…");
    item.speaking = words === "speaking…";
    item.row.classList.add("pending");
    item.words.textContent = words;
    if (why) item.row.title = masked(why);
  }

  #dropUnsaid() {
    for (const [id, item] of this.#items) {
      if (!item.speaking || !item.waits) continue;
      item.row.remove();
      this.#items.delete(id);
    }
  }

  // Once in a frame, whatever came: each look at the height lays the page out anew.
  #keepEnd() {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      if (!this.#follows) return;
      this.#box.scrollTop = this.#box.scrollHeight;
      this.#top = this.#box.scrollTop;
    });
  }

  // Only who scrolls up wants to stay; what grew meanwhile has moved nothing.
  #scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.#box;
    if (scrollHeight - scrollTop - clientHeight < 40) this.#follows = true;
    else if (scrollTop < this.#top - 4) this.#follows = false;
    this.#top = scrollTop;
  }
}

// --- the events ----------------------------------------------------------------------------------

class EventList {
  #list;
  #count;
  #filter;
  #rows = []; // the newest last: { row, text }
  #all = 0;

  constructor(list, count, filter) {
    [this.#list, this.#count, this.#filter] = [list, count, filter];
    filter.addEventListener("input", () => this.#choose());
  }

  clear() {
    this.#list.replaceChildren();
    this.#rows = [];
    this.#all = 0;
    this.#choose();
  }

  add(event, sent, seconds) {
    const type = masked(event.type ?? "(no type)");
    const text = masked(JSON.stringify(event, null, 2));
    const said = masked(event.delta ?? event.transcript ?? event.error?.message ?? event.text ?? "");
    const row = this.#row(type, said, text, sent, seconds);
    if (event.type === "error" || event.response?.status === "failed") row.classList.add("bad");
    this.#rows.push({ row, text: `${type}\n${text}`.toLowerCase() });
    this.#all += 1;
    if (this.#rows.length > ROWS) this.#rows.shift().row.remove();
    row.hidden = !this.#wanted(this.#rows.at(-1));
    this.#list.prepend(row);
    this.#tell();
  }

  #row(type, said, text, sent, seconds) {
    const row = element("li", sent ? "out" : "in");
    const details = element("details");
    const summary = element("summary");
    const way = element("span", "way", sent ? "↑" : "↓");
    way.setAttribute("role", "img");
    way.setAttribute("aria-label", sent ? "sent" : "received");
    way.title = sent ? "sent" : "received";
    const what = element("span", "what");
    what.append(element("code", "", type), element("span", "", said));
    summary.append(element("time", "", `${seconds.toFixed(3)} s`), way, what);
    details.append(summary);
    details.addEventListener("toggle", () => {
      if (details.open && !details.querySelector("pre")) details.append(element("pre", "", text));
    });
    row.append(details);
    return row;
  }

  #wanted(one) {
    return one.text.includes(this.#filter.value.trim().toLowerCase());
  }

  #choose() {
    for (const one of this.#rows) one.row.hidden = !this.#wanted(one);
    this.#tell();
  }

  #tell() {
    const shown = this.#filter.value.trim() ? this.#rows.filter((one) => !one.row.hidden).length : this.#rows.length;
    this.#count.textContent = this.#all ? (shown === this.#all ? `${shown}` : `${shown} of ${this.#all}`) : "";
  }
}

// --- a call --------------------------------------------------------------------------------------

class Over extends Error {} // the call ended while something was awaited

const you = new Level(at.you);
const reply = new Level(at.reply);
const transcript = new Transcript(at.transcript);
const events = new EventList(at.events, at.count, at.filter);

class Call {
  #choices; // { key, voice, model, access, settings }
  #tell; // (state, sentence)
  #abort = new AbortController();
  #begun = performance.now();
  #live = null; // when the channel opened
  #context = null;
  #microphone = null;
  #connection = null;
  #channel = null;
  #timers = new Set();
  #frame = 0;
  #keyed; // whether the key is the user's
  #key = ""; // the ephemeral one
  #standard = ""; // where the user typed that: it mints, and hangs up
  #base = "";
  #id = null;
  #responding = false;
  #wanted = false; // a response, as soon as the one before is over
  #sent = 0;
  #expired = "";

  constructor(choices, tell) {
    this.#choices = choices;
    this.#tell = tell;
    this.#base = choices.settings.base;
    this.#keyed = choices.key !== "";
    if (choices.key) known.add(choices.key);
  }

  get keyed() {
    return this.#keyed;
  }

  get over() {
    return this.#abort.signal.aborted;
  }

  get seconds() {
    return this.#live === null ? null : (performance.now() - this.#live) / 1000;
  }

  async start() {
    try {
      this.#tell("microphone", "Asking for the microphone: allow it for this page.");
      await this.#open();
      this.#after(PATIENCE, () => this.#late());
      this.#tell("key", "Getting an ephemeral key.");
      await this.#mint();
      this.#tell("connecting", `Connecting to ${new URL(this.#base).host}.`);
      await this.#dial();
    } catch (error) {
      if (error instanceof Over) return;
      if (error instanceof Problem) return this.end(error.message, true);
      this.end(`The call could not be set up (${masked(error.message)}): launch again, or try another browser.`, true);
    }
  }

  async #open() {
    this.#context = new AudioContext(); // while the click still counts
    if (!navigator.mediaDevices?.getUserMedia) {
      throw new Problem("The browser gives no microphone to this page, as it is not secure: open it as http://localhost or over https.");
    }
    const asked = { echoCancellation: true, noiseSuppression: true, autoGainControl: true };
    const stream = await navigator.mediaDevices.getUserMedia({ audio: asked }).catch((error) => {
      throw this.over ? new Over() : microphoneProblem(error);
    });
    if (this.over) {
      for (const track of stream.getTracks()) track.stop();
      throw new Over();
    }
    this.#microphone = stream;
    const [track] = stream.getAudioTracks();
    track.onended = () => this.end("The microphone is gone: connect it, then launch again.", true);
    you.follow(this.#context, stream);
    this.#draw();
    this.#context.resume().catch(() => null); // of use to the bars alone: nothing waits for it
  }

  async #mint() {
    const { key, voice, model, access, settings } = this.#choices;
    this.#choices.key = "";
    if (key.startsWith("ek_")) {
      this.#key = key;
      return;
    }
    this.#standard = key;
    const who = key ? "key" : "endpoint";
    const response = await (key ? this.#mintWith(key, voice, model) : this.#fetchToken(voice, model, access));
    if (!response.ok) throw await refusal(response, who);
    const body = await response.json().catch(() => null);
    this.#check();
    const secret = body?.value ?? body?.client_secret?.value ?? body?.client_secret;
    if (typeof secret !== "string" || !secret) {
      throw new Problem(
        key
          ? "The server's answer has no ephemeral key: check the server's base URL."
          : "The token endpoint's answer has no key: check the server that serves this page.",
      );
    }
    this.#key = secret;
    known.add(secret);
    if (!key && typeof body.base_url === "string" && body.base_url) this.#base = based(body.base_url);
    if (body.session?.model && settings.model === "") at.model.placeholder = String(body.session.model);
  }

  #mintWith(key, voice, model) {
    const session = { type: "realtime", audio: { input: { transcription: TRANSCRIPTION } } };
    if (voice) session.audio.output = { voice };
    if (model) session.model = model;
    return this.#ask(`${this.#base}/realtime/client_secrets`, {
      method: "POST",
      headers: { Authorization: `Bearer ${key}`, "Content-Type": "application/json" },
      body: JSON.stringify({ session }),
    });
  }

  #fetchToken(voice, model, access) {
    const url = new URL("session", location.href);
    url.hash = "";
    if (voice) url.searchParams.set("voice", voice);
    if (model) url.searchParams.set("model", model);
    return this.#ask(url.href, { headers: access ? { Authorization: `Bearer ${access}` } : {} });
  }

  async #dial() {
    const connection = (this.#connection = new RTCPeerConnection());
    connection.ontrack = ({ streams, track }) => this.#hear(streams[0] ?? new MediaStream([track]));
    connection.onconnectionstatechange = () => this.#changed();
    connection.addTrack(this.#microphone.getAudioTracks()[0], this.#microphone);
    const channel = (this.#channel = connection.createDataChannel("oai-events"));
    channel.onopen = () => this.#opened();
    channel.onmessage = ({ data }) => this.#take(data);
    channel.onclose = () => this.#closed();
    await connection.setLocalDescription(await connection.createOffer());
    this.#check();
    const response = await this.#ask(`${this.#base}/realtime/calls`, {
      method: "POST",
      headers: { Authorization: `Bearer ${this.#key}`, "Content-Type": "application/sdp" },
      body: connection.localDescription.sdp,
    });
    if (!response.ok) throw await refusal(response, "call");
    this.#id = /\/(rtc_[\w-]+|[\w-]{6,})\/?$/.exec(response.headers.get("Location") ?? "")?.[1] ?? null;
    const sdp = await response.text();
    this.#check();
    const { origin } = new URL(this.#base);
    const wrong = new Problem(
      `${origin} answered the call with something that is no SDP: check that it speaks WebRTC (GA).`,
    );
    if (!sdp.startsWith("v=0")) throw wrong;
    await connection.setRemoteDescription({ type: "answer", sdp }).catch(() => {
      throw this.over ? new Over() : wrong;
    });
  }

  async #ask(url, options) {
    const response = await ask(url, options, this.#abort.signal);
    this.#check();
    return response;
  }

  #check() {
    if (this.over) throw new Over();
  }

  #late() {
    if (this.#live !== null) return;
    const where = new URL(this.#base).origin;
    const within = `within ${PATIENCE / 1000} s`;
    const what = this.#connection
      ? `No connection to ${where} ${within}: a firewall may keep UDP from passing`
      : `No key ${within}: the server is slow or hangs`;
    this.end(`${what}; launch again.`, true);
  }

  #after(milliseconds, act) {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      act();
    }, milliseconds);
    this.#timers.add(timer);
    return timer;
  }

  // --- while it lives

  #opened() {
    this.#live = performance.now();
    this.#tell("live", "Live: speak, or type below.");
    const session = { type: "realtime", audio: { input: { transcription: TRANSCRIPTION } } };
    if (this.#choices.update) session.audio.output = { voice: this.#choices.voice };
    this.send({ type: "session.update", session });
  }

  #hear(stream) {
    at.remote.srcObject = stream;
    reply.follow(this.#context, stream);
    at.remote.play().catch((error) => {
      if (this.over || error.name !== "NotAllowedError") return;
      this.#tell("live", "Live, but the browser holds the sound back: click anywhere in the page.");
      addEventListener("pointerdown", () => at.remote.play().catch(() => null), { once: true, signal: this.#abort.signal });
    });
  }

  #changed() {
    const state = this.#connection.connectionState;
    if (state === "failed") this.#lost();
    if (state === "disconnected") {
      this.#after(GRACE, () => this.#connection?.connectionState === "disconnected" && this.#lost());
    }
  }

  #lost() {
    if (this.over) return;
    const where = new URL(this.#base).host;
    if (this.#live === null) this.end(`No connection to ${where}: a firewall may keep UDP from passing; launch again.`, true);
    else this.end(`The connection to ${where} was lost: check that the server runs and the network works, then launch again.`, true);
  }

  #closed() {
    if (this.over) return;
    this.end(this.#expired ? `The server ended the call: ${this.#expired}` : "The server ended the call: launch again.", true);
  }

  #take(data) {
    let event;
    try {
      event = JSON.parse(data);
      if (event === null || typeof event !== "object" || Array.isArray(event)) throw new TypeError();
    } catch {
      event = { type: "(no event)", text: String(data).slice(0, 2_000) };
    }
    this.#note(event, false);
    transcript.take(event);
    if (event.type === "response.created" && event.response?.conversation_id !== null) this.#responding = true;
    if (event.type === "response.done") this.#finished();
    if (event.type === "error") this.#failed(event.error ?? {});
  }

  #failed(error) {
    const sentence = masked(error.message || error.code || "").slice(0, 220);
    if (/expired|maximum duration/i.test(`${error.code} ${error.message}`)) this.#expired = sentence;
    if (this.#asked && error.event_id === this.#asked) this.#finished();
  }

  #asked = null; // the event_id of a response.create that is not answered yet

  #finished() {
    this.#responding = false;
    this.#asked = null;
    if (!this.#wanted) return;
    this.#wanted = false;
    this.#create();
  }

  #create() {
    this.#responding = true;
    this.#asked = this.send({ type: "response.create" });
  }

  send(event) {
    if (this.#channel?.readyState !== "open") return null;
    this.#sent += 1;
    const one = { event_id: `page_${this.#sent}`, ...event };
    this.#channel.send(JSON.stringify(one));
    this.#note(one, true);
    return one.event_id;
  }

  // What is typed interrupts a reply, as speech does.
  write(text) {
    const content = [{ type: "input_text", text }];
    this.send({ type: "conversation.item.create", item: { type: "message", role: "user", content } });
    if (!at.remote.dataset.sounding && !this.#responding) return this.#create();
    if (this.#responding) {
      this.#wanted = true;
      this.send({ type: "response.cancel" });
    }
    this.send({ type: "output_audio_buffer.clear" });
    if (!this.#responding) this.#create();
  }

  mute(silent) {
    for (const track of this.#microphone?.getAudioTracks() ?? []) track.enabled = !silent;
  }

  #note(event, sent) {
    if (event.type === "output_audio_buffer.started") at.remote.dataset.sounding = "yes";
    if (/^output_audio_buffer\.(stopped|cleared)$/.test(event.type)) delete at.remote.dataset.sounding;
    events.add(event, sent, (performance.now() - this.#begun) / 1000);
  }

  #draw() {
    this.#frame = requestAnimationFrame((now) => {
      you.draw(now);
      reply.draw(now);
      showClock(this.seconds);
      if (!this.over) this.#draw();
    });
  }

  // --- the end

  // Everything that was opened is closed, whatever state it is in; harmless when repeated.
  end(sentence, failed = false) {
    if (this.over) return;
    const lasted = this.seconds;
    this.#abort.abort();
    for (const timer of this.#timers) clearTimeout(timer);
    cancelAnimationFrame(this.#frame);
    for (const track of this.#microphone?.getTracks() ?? []) {
      track.onended = null;
      track.stop();
    }
    you.stop();
    reply.stop();
    at.remote.pause();
    at.remote.srcObject = null;
    delete at.remote.dataset.sounding;
    this.#hangUp();
    this.#channel?.close();
    this.#connection?.close();
    this.#context?.close().catch(() => null);
    this.#microphone = this.#channel = this.#connection = this.#context = null;
    this.#key = this.#standard = this.#choices.key = this.#choices.access = "";
    known.clear();
    transcript.settle();
    const time = lasted === null ? "" : ` The call took ${clock(lasted)}.`;
    this.#tell(failed ? "failed" : "ended", sentence + time);
  }

  // The closed connection tells the server too, in packets that may be lost. The API wants a standard
  // key for this; an ephemeral one is worth a try, but not at a peer, which is known to refuse it.
  #hangUp() {
    const key = this.#standard || (this.#choices.settings.target === "peer" ? "" : this.#key);
    if (!this.#id || !key) return;
    const headers = { Authorization: `Bearer ${key}` };
    const url = `${this.#base}/realtime/calls/${this.#id}/hangup`;
    fetch(url, { ...COMMON, method: "POST", headers, keepalive: true }).catch(() => null); // it may be over already
  }
}

// --- the page ------------------------------------------------------------------------------------

const BUSY = ["microphone", "key", "connecting", "live"];
let access = ""; // the access token of a public server
let settings = null;
let call = null;

// Why the server cannot be called from here; "" where it can.
function unusable() {
  if (settings.dialect === "beta") {
    return "This server speaks the beta dialect of the Realtime API, and this page needs GA: choose a GA server.";
  }
  const why = settings.unusable;
  return why ? `${why} This page needs GA over WebRTC: choose another server.` : "";
}

function based(url) {
  return new URL(url, location.href).href.replace(/\/+$/, "");
}

function clock(seconds) {
  return `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;
}

function showClock(seconds) {
  const text = seconds === null ? "" : clock(seconds);
  if (at.clock.textContent !== text) at.clock.textContent = text;
}

function show(state, sentence) {
  const busy = BUSY.includes(state);
  const live = state === "live";
  at.status.dataset.state = state;
  at.status.textContent = sentence;
  at.launch.textContent = busy ? "End" : "Launch";
  at.launch.toggleAttribute("data-ends", busy);
  for (const field of [at.key, at.voice, at.model]) field.disabled = busy;
  for (const one of [at.mute, at.text, at.send]) one.disabled = !live;
  if (!busy) {
    at.key.value = at.text.value = "";
    showClock(null);
    showMute(false);
  }
  explainKey();
}

function showMute(silent) {
  at.mute.setAttribute("aria-pressed", silent);
  at.mute.textContent = silent ? "Muted" : "Mute";
  at.you.parentElement.classList.toggle("muted", silent);
}

function explainKey() {
  const value = at.key.value;
  const mints = settings?.mints !== false;
  const empty = mints ? "empty: this page's token endpoint" : "ek_… or sk-…";
  at.key.placeholder = at.key.disabled ? (call?.keyed ? "in use until End" : "not needed") : empty;
  if (value.startsWith("ek_")) at.hint.textContent = "Used as it is, with the model it was minted for; forgotten at End.";
  else if (value) at.hint.textContent = "Mints an ephemeral key from this page; forgotten at End. An ephemeral key (ek_…) is safer here.";
  else if (mints) at.hint.textContent = "Leave the key empty to use this page's token endpoint. A key that you type is forgotten at End.";
  else at.hint.textContent = "This server mints no keys: type one. It is forgotten at End, and an ephemeral key (ek_…) is safer.";
}

function takeAccess() {
  const found = /^#access=(.+)$/.exec(location.hash);
  if (!found) return false;
  history.replaceState(null, "", location.pathname + location.search);
  try {
    access = decodeURIComponent(found[1]);
  } catch {
    access = found[1];
  }
  return true;
}

function options(list, values) {
  list.replaceChildren(...values.map((value) => {
    const one = element("option", "", String(value) || "default");
    one.value = String(value);
    return one;
  }));
}

async function configure() {
  const url = new URL("config", location.href);
  url.hash = "";
  const response = await ask(url.href, { headers: access ? { Authorization: `Bearer ${access}` } : {} }, AbortSignal.timeout(PATIENCE));
  if (!response.ok) throw await refusal(response, "endpoint");
  const given = await response.json().catch(() => null);
  if (typeof given?.base_url !== "string") {
    throw new Problem("This page's settings cannot be read: start its server again, then reload the page.");
  }
  settings = { ...given, base: based(given.base_url), model: given.model ?? "" };
  const who = { peer: "the peer at ", openai: "OpenAI at " }[given.target] ?? "";
  at.target.textContent = `calls ${who}${settings.base}`;
  options(at.models, given.models ?? []);
  options(at.voice, [...new Set([given.voice ?? "", ...(given.voices ?? [])])]);
  at.voice.value = given.voice ?? "";
  at.model.value = settings.model;
  at.model.placeholder = "default";
}

async function prepare() {
  try {
    await configure();
    if (unusable()) show("failed", unusable());
    else show("idle", "Ready: launch a call, then speak.");
  } catch (error) {
    settings = null;
    show("failed", error instanceof Problem ? error.message : "This page's settings cannot be read: reload the page.");
  }
}

async function launch() {
  const key = at.key.value.trim();
  if (!settings) await prepare();
  if (!settings || call) return;
  if (unusable()) return show("failed", unusable());
  if (!key && settings.mints === false) {
    show("failed", "This server mints no keys: type an API key, then launch.");
    return at.key.focus();
  }
  if (/[^\x21-\x7e]/.test(key)) {
    show("failed", "The API key has characters that no key has: paste it again, then launch.");
    return at.key.focus();
  }
  transcript.clear();
  events.clear();
  const choices = { key, voice: at.voice.value, model: at.model.value.trim(), access, settings };
  choices.update = key.startsWith("ek_") && choices.voice !== (settings.voice ?? "");
  const one = (call = new Call(choices, (state, sentence) => {
    if (!BUSY.includes(state)) call = null;
    else if (state === "microphone") at.key.value = ""; // the call has it
    show(state, sentence);
  }));
  await one.start();
}

function leave() {
  call?.end("Ended, as the page was left.");
  at.key.value = "";
}

at.launch.addEventListener("click", () => (call ? call.end("Ended.") : launch()));
at.key.addEventListener("input", explainKey);
at.key.addEventListener("keydown", (event) => event.key === "Enter" && !call && launch());
at.mute.addEventListener("click", () => {
  const silent = at.mute.getAttribute("aria-pressed") !== "true";
  call?.mute(silent);
  showMute(silent);
});
at.volume.addEventListener("input", () => (at.remote.volume = at.volume.value / 100));
at.compose.addEventListener("submit", (event) => {
  event.preventDefault();
  const text = at.text.value.trim();
  if (!text || !call) return;
  call.write(text);
  at.text.value = "";
});
addEventListener("pagehide", leave);
addEventListener("hashchange", () => takeAccess() && !call && prepare());

takeAccess();
at.key.value = "";
prepare();
