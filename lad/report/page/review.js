// What people say of the events. Only where a server takes it: `lad review`.
"use strict";

LAD.EVERY = 3000; // milliseconds between two looks at what others said

// The verdicts of labels.csv, as the server has them.
LAD.Verdicts = class {
  constructor() {
    Object.assign(this, { all: [], kept: [], mark: "", who: "", readOnly: true });
  }

  // Ask for them; whether they have changed.
  async load() {
    const answer = await fetch("verdicts", { cache: "no-store", headers: this.mark ? { "if-none-match": this.mark } : {} });
    if (answer.status === 304) return false;
    const data = await this.told(answer);
    this.mark = answer.headers.get("etag") || "";
    this.who = data.who;
    this.readOnly = data.read_only;
    this.fold(data.verdicts);
    return true;
  }

  // Add one; it is on the disk when this returns it.
  async add(verdict) {
    const answer = await fetch("verdicts", {
      method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ verdicts: [verdict] }),
    });
    const [added] = (await this.told(answer)).added;
    this.fold([...this.all.filter(({ number }) => number !== added.number), added]);
    return added;
  }

  async told(answer) {
    const data = await answer.json().catch(() => ({}));
    if (!answer.ok) throw new Error(data.error || `the server says ${answer.status}`);
    return data;
  }

  // Those that nobody took back: who speaks later is heard first, as in Python's `in_force`.
  fold(all) {
    this.all = all;
    const undone = new Set(), replaced = new Set();
    this.kept = [];
    for (let i = all.length - 1; i >= 0; i -= 1) {
      const { number, kind, replaces } = all[i];
      if (undone.has(number)) continue;
      if (kind === "undo") {
        undone.add(replaces);
        continue;
      }
      if (!replaced.has(number)) this.kept.push(all[i]);
      replaced.add(replaces);
    }
    this.kept.reverse();
    this.byVideo = new Map();
    this.painted = new Map();
    for (const one of this.kept) {
      if (!this.byVideo.has(one.video)) {
        this.byVideo.set(one.video, []);
        this.painted.set(one.video, []);
      }
      this.byVideo.get(one.video).push(one);
      LAD.paint(this.painted.get(one.video), one);
    }
  }

  of(video) {
    return this.byVideo.get(video) || [];
  }

  // The last verdict on much the same frames as an event's.
  about(video, start, end) {
    return this.of(video).findLast((one) => {
      const both = Math.min(one.end, end) - Math.max(one.start, start);
      return 2 * both >= Math.max(one.end, end) - Math.min(one.start, start);
    });
  }

  // What most of an event's frames are said to be: "event", "normal", or "" where nothing is said of most of them.
  state(video, start, end) {
    const pieces = this.painted.get(video) || [], frames = { event: 0, normal: 0 };
    for (let i = LAD.firstAfter(pieces, start); i < pieces.length && pieces[i].start < end; i += 1) {
      frames[pieces[i].kind] += Math.min(pieces[i].end, end) - Math.max(pieces[i].start, start);
    }
    if (2 * (frames.event + frames.normal) < end - start) return "";
    return frames.event >= frames.normal ? "event" : "normal";
  }
};

// The place of the first of some pieces, in order and apart, that ends after a frame.
LAD.firstAfter = function (pieces, frame) {
  let low = 0, high = pieces.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (pieces[middle].end > frame) high = middle;
    else low = middle + 1;
  }
  return low;
};

// Lay a verdict over the pieces of those before it.
LAD.paint = function (pieces, { start, end, kind }) {
  const first = LAD.firstAfter(pieces, start), inside = [{ start, end, kind }];
  let last = first;
  while (last < pieces.length && pieces[last].start < end) last += 1;
  if (last > first) {
    if (pieces[first].start < start) inside.unshift({ ...pieces[first], end: start });
    if (pieces[last - 1].end > end) inside.push({ ...pieces[last - 1], start: end });
  }
  pieces.splice(first, last - first, ...inside);
};

// The buttons below the player. page: run, what is shown, and how to show something else (main.js).
LAD.Review = class {
  constructor(page, verdicts) {
    const $ = (id) => document.getElementById(id);
    Object.assign(this, { page, verdicts, $, draft: null, mine: [], queue: Promise.resolve() });
    for (const id of ["review", "reviews", "review-keys", "said-key", "saying"]) $(id).hidden = false;
    $("view-next").hidden = !(page.run.next.video || []).length;
    $("known-categories").append(...page.run.categories.map((name) => Object.assign(document.createElement("option"), { value: name })));
    this.keys = {
      a: () => this.later(() => this.judge("event")), x: () => this.later(() => this.judge("normal")), u: () => this.later(() => this.undo()),
      i: () => this.bound("start"), o: () => this.bound("end"), d: () => this.draw(), c: () => $("category").select(),
    };
    const buttons = { accept: "a", reject: "x", undo: "u", "from-here": "i", "to-here": "o", draw: "d" };
    for (const [id, key] of Object.entries(buttons)) $(id).addEventListener("click", this.keys[key]);
    $("category").addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === "Escape") $("category").blur();
    });
    $("category").addEventListener("input", () => { if (this.draft) this.draft.label = $("category").value; });
    this.say(verdicts.readOnly ? "read-only" : "");
    this.refresh();
    setInterval(() => { if (!document.hidden) this.later(() => this.poll()); }, LAD.EVERY);
  }

  // One after the other, however fast they come, and about the event that is shown by then.
  later(what) {
    this.queue = this.queue.then(() => this.page.opening()).then(what).catch((error) => this.unsaid(error.message));
  }

  // An event of the list was chosen, or none.
  pick(event) {
    const said = event && this.verdicts.about(event.video, event.start, event.end);
    const own = said?.kind === "event" ? said : event;
    this.draft = event && { video: event.video, start: own.start, end: own.end, label: own.label, replaces: said?.number || "" };
    this.refresh();
  }

  // "event", "normal", or "" where nobody said anything.
  state(video, start, end) {
    return this.verdicts.state(video, start, end);
  }

  refresh() {
    const { $, page, draft } = this, closed = this.verdicts.readOnly;
    // Not `disabled`: that would take the focus from a button that was just used.
    const off = (id, is) => $(id).setAttribute("aria-disabled", is);
    for (const id of ["accept", "reject"]) off(id, closed || !draft);
    for (const id of ["from-here", "to-here", "draw"]) off(id, closed || page.video() === null);
    off("undo", closed || !this.last());
    $("category").disabled = closed || !draft;
    if (document.activeElement !== $("category")) $("category").value = draft?.label || "";
    $("draft").textContent = draft
      ? `frames ${draft.start}–${draft.end - 1} · ${LAD.clock(page.from(draft.start))} – ${LAD.clock(page.to(draft.end))}`
      : "";
    const said = this.verdicts.of(page.video()).map(({ start, end, kind }) => ({ from: page.from(start), to: page.to(end), kind }));
    if (draft && draft.video === page.video()) said.unshift({ from: page.from(draft.start), to: page.to(draft.end), kind: "draft" });
    page.mark(said);
  }

  say(text) {
    const { events } = this.page.run;
    const done = (events.video || []).filter((video, i) => this.state(this.page.run.videos.id[video], events.start[i], events.end[i])).length;
    const count = `${done} of ${LAD.count(events.count, "event")} reviewed`;
    this.$("said").textContent = text ? `${text} · ${count}` : count;
  }

  // Tell the server; nothing counts as said before it has it.
  async tell(verdict) {
    if (this.verdicts.readOnly) return null;
    try {
      const added = await this.verdicts.add(verdict);
      this.unsaid("");
      return added;
    } catch (error) {
      this.unsaid(`Not saved: ${this.reason(error)}`);
      return null;
    }
  }

  reason(error) {
    return error instanceof TypeError ? "the server does not answer: start lad review again, and open its new address" : error.message;
  }

  unsaid(text) {
    this.$("unsaid").textContent = text;
    this.$("unsaid").hidden = !text;
  }

  async judge(kind) {
    const { draft } = this;
    if (!draft) return;
    const label = kind === "event" ? draft.label.trim() : "";
    const { video, start, end, replaces } = draft;
    const added = await this.tell({ video, kind, start, end, label, replaces });
    if (!added) return;
    this.mine.push(added.number);
    const what = `${kind === "event" ? "accepted" : "rejected"} ${this.shown(added)}`;
    if (this.draft === draft) this.draft = null;
    this.page.judged();
    this.refresh();
    this.say(what);
  }

  // The last verdict of this page that counts; where it has none, the last one of the same name.
  last() {
    const kept = new Map(this.verdicts.kept.map((one) => [one.number, one]));
    while (this.mine.length && !kept.has(this.mine.at(-1))) this.mine.pop();
    return kept.get(this.mine.at(-1)) || this.verdicts.kept.findLast(({ who }) => who === this.verdicts.who);
  }

  async undo() {
    const last = this.last();
    if (!last || !await this.tell({ video: last.video, kind: "undo", replaces: last.number })) return;
    this.page.changed();
    await this.page.show(last.video, last.start);
    this.draft = { video: last.video, start: last.start, end: last.end, label: last.label, replaces: last.replaces };
    this.say(`took back: ${last.kind === "event" ? "accepted" : "rejected"} ${this.shown(last)}`);
    this.refresh();
  }

  shown({ video, start, end }) {
    return video === this.page.video() ? `${LAD.clock(this.page.from(start))} – ${LAD.clock(this.page.to(end))} of ${video}` : video;
  }

  // Another event, from the frame that is shown to a second later.
  draw() {
    const video = this.page.video(), start = this.page.frame();
    if (video === null || this.verdicts.readOnly) return;
    this.draft = { video, start, end: this.page.frameAfter(start, 1), label: "", replaces: "" };
    this.refresh();
  }

  // The chosen event starts, or ends, with the frame that is shown.
  bound(which) {
    if (this.verdicts.readOnly) return;
    if (!this.draft || this.draft.video !== this.page.video()) {
      this.draw();
      return;
    }
    const frame = this.page.frame(), { draft } = this;
    if (which === "start") draft.start = frame;
    else draft.end = frame + 1;
    if (draft.start >= draft.end) {
      if (which === "start") draft.end = frame + 1;
      else draft.start = frame;
    }
    this.refresh();
  }

  async poll() {
    try {
      if (await this.verdicts.load()) {
        this.say("");
        this.page.changed();
        this.refresh();
      }
      this.unsaid("");
    } catch (error) {
      this.unsaid(`What others say is not known: ${this.reason(error)}`);
    }
  }
};
