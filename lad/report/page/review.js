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

  // Those that nobody took back: who speaks later is heard first (lad/work/verdicts.py).
  fold(all) {
    this.all = all;
    const gone = new Set();
    this.kept = [];
    for (let i = all.length - 1; i >= 0; i -= 1) {
      if (gone.has(all[i].number)) continue;
      if (all[i].replaces) gone.add(all[i].replaces);
      if (all[i].kind !== "undo") this.kept.push(all[i]);
    }
    this.kept.reverse();
    this.byVideo = new Map();
    for (const one of this.kept) {
      if (!this.byVideo.has(one.video)) this.byVideo.set(one.video, []);
      this.byVideo.get(one.video).push(one);
    }
  }

  of(video) {
    return this.byVideo.get(video) || [];
  }

  // What was said last of an event: that something in it is one, or that most of it is nothing.
  about(video, start, end) {
    return this.of(video).findLast((one) => {
      const overlap = Math.min(one.end, end) - Math.max(one.start, start);
      const of = one.kind === "event" ? Math.min(end - start, one.end - one.start) : end - start;
      return 2 * overlap >= of;
    });
  }
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
    this.queue = this.queue.then(() => this.page.opening()).then(what);
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
    return this.verdicts.about(video, start, end)?.kind || "";
  }

  refresh() {
    const { $, page, draft } = this, closed = this.verdicts.readOnly;
    for (const id of ["accept", "reject"]) $(id).disabled = closed || !draft;
    for (const id of ["from-here", "to-here", "draw"]) $(id).disabled = closed || page.video() === null;
    $("undo").disabled = closed || !this.verdicts.kept.length;
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
      this.$("unsaid").hidden = true;
      return added;
    } catch (error) {
      const why = error instanceof TypeError ? "the server does not answer: start lad review again, and open its new address" : error.message;
      this.$("unsaid").textContent = `Not saved: ${why}.`;
      this.$("unsaid").hidden = false;
      return null;
    }
  }

  async judge(kind) {
    const { draft } = this;
    if (!draft) return;
    const label = kind === "event" ? draft.label.trim() : "";
    const { video, start, end, replaces } = draft;
    const added = await this.tell({ video, kind, start, end, label, replaces });
    if (!added) return;
    this.mine.push(added.number);
    this.say(`${kind === "event" ? "accepted" : "rejected"} ${this.shown(added)}`);
    if (this.draft === draft) this.draft = null;
    this.page.judged();
    this.refresh();
  }

  // Take back the last verdict of this page; where it has none, the last one there is.
  async undo() {
    const kept = new Map(this.verdicts.kept.map((one) => [one.number, one]));
    while (this.mine.length && !kept.has(this.mine.at(-1))) this.mine.pop();
    const last = kept.get(this.mine.at(-1)) || this.verdicts.kept.at(-1);
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
    } catch (error) {
      console.debug(error.message); // it is told when somebody wants to save
    }
  }
};
