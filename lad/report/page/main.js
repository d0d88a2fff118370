// The page: what is shown follows from what was chosen.
"use strict";
(function () {
  const $ = (id) => document.getElementById(id);
  const run = LAD.given.get("run");
  if (!run) {
    document.body.prepend(LAD.element("p", "notice", "data/run.js is missing: copy the whole folder."));
    return;
  }
  const ROW = 68;
  for (const of of [run.events, run.misses, run.next]) of.count = (of.video || []).length; // where there are none, no column is there
  run.events.peak ||= [];
  const threshold = run.videos.threshold[0]; // the slider's; each camera of a detector may have its own
  const stills = byVideo(run.stills), clips = byVideo(run.clips);
  const wanted = { view: "events", threshold, video: "", category: "", score: 0, verdict: "", review: "" };
  let events = run.events; // at the threshold
  let review = null; // where a server takes verdicts
  let order = []; // of what is listed: places in `events`, or videos
  let chosen = -1; // the video
  let opening = Promise.resolve(); // the video that was asked for
  let loading = Promise.resolve(false), asked = 0; // whether the chosen video is there; the frame to show of it
  let times = [], probabilities = null, classes = [];

  const list = new LAD.List($("list"), $("rows"), ROW, drawRow, (place) => { opening = open(place); }, () => opening.then(() => player.play()));
  const player = new LAD.Player($("stage"), moved, () => {
    $("play").textContent = player.playing ? "❚❚" : "▶";
    $("play").setAttribute("aria-label", player.playing ? "Pause" : "Play");
  });
  const curve = new LAD.Curve($("curve"), (seconds) => player.seek(LAD.frameAt(times, seconds)), (is) => { $("zoom-out").hidden = !is; });

  // A list of pictures or clips, columns -> video -> rows.
  function byVideo(columns) {
    const found = new Map();
    (columns.video || []).forEach((video, place) => {
      if (!found.has(video)) found.set(video, []);
      found.get(video).push(Object.fromEntries(Object.entries(columns).map(([key, values]) => [key, values[place]])));
    });
    return found;
  }

  // The thumbnail within some frames of a video; of several the last asked for is good enough.
  function stillOf(video, start, end) {
    return (stills.get(video) || []).find(({ frame }) => start <= frame && frame < end)?.file;
  }

  // ------------------------------------------------------------------ the list

  const VIEWS = ["events", "next", "videos", "run"];
  const LISTED = { events: ["event", "worst first"], next: ["moment", "the one that would teach most first"], videos: ["video", "highest peak first"] };

  // The events or moments of the list; null: it lists videos.
  const listed = () => ({ events, next: run.next })[wanted.view] || null;

  // What was said of an event: "event", "normal" or "".
  const saidOf = (of, i) => (review ? review.state(run.videos.id[of.video[i]], of.start[i], of.end[i]) : "");

  const isWanted = (of, i) => !review || !wanted.review || (saidOf(of, i) || "open") === wanted.review;

  function refresh() {
    const part = wanted.video.toLocaleLowerCase();
    const names = run.videos.id.map((id) => !part || id.toLocaleLowerCase().includes(part));
    const category = wanted.category === "" ? -1 : Number(wanted.category);
    if (wanted.view === "events") {
      order = [];
      for (let i = 0; i < events.peak.length; i += 1) {
        if (!names[events.video[i]] || events.peak[i] < wanted.score) continue;
        if (category >= 0 && events.category[i] !== category) continue;
        if (wanted.verdict !== "" && events.verdict[i] !== Number(wanted.verdict)) continue;
        if (!isWanted(events, i)) continue;
        order.push(i);
      }
      order.sort((a, b) => events.peak[b] - events.peak[a]);
    } else if (wanted.view === "next") {
      order = [...Array(run.next.count).keys()].filter((i) => names[run.next.video[i]] && isWanted(run.next, i)); // in their own order
    } else {
      const { peak } = run.videos;
      order = run.videos.id.map((_, video) => video).filter((video) => names[video] && peak[video] >= wanted.score && (category < 0 || run.videos.category[video] === category));
      order.sort((a, b) => peak[b] - peak[a]);
    }
    $("list").scrollTop = 0;
    list.fill(order.length);
    const exact = wanted.threshold === threshold;
    const roughly = run.block > 16 ? `${run.block} frames` : "16 frames";
    const [what, first] = LISTED[wanted.view];
    const blurred = wanted.view === "events" && !exact ? `; at this threshold to ${roughly} exact` : "";
    $("shown").textContent = `${LAD.count(order.length, what)}, ${first}${blurred}`;
    $("list").setAttribute("aria-label", `${what[0].toUpperCase()}${what.slice(1)}s, ${first}`);
  }

  function drawRow(place) {
    const row = LAD.element("div", "row"), text = LAD.element("div", "text");
    const of = listed(), i = order[place], video = of ? of.video[i] : i;
    const file = of ? stillOf(video, of.start[i], of.end[i]) : stills.get(video)?.[0]?.file;
    if (file) {
      const image = LAD.element("img");
      image.src = file;
      image.alt = "";
      row.append(image);
    } else {
      row.append(LAD.element("div", "blank"));
    }
    const id = run.videos.id[video];
    const name = LAD.element("div", "name");
    const slash = id.lastIndexOf("/") + 1; // the end of a name says the most
    name.append(LAD.element("span", "quiet", id.slice(0, slash)), LAD.element("span", "", id.slice(slash)));
    name.title = id;
    const when = of
      ? `${LAD.clock(of.from[i])} – ${LAD.clock(of.to[i])} · ${(of.to[i] - of.from[i]).toFixed(1)} s`
      : `${LAD.clock(run.videos.seconds[video])}${run.videos.split[video] ? ` · ${run.videos.split[video]}` : ""}`;
    text.append(name, LAD.element("div", "quiet", when));
    const kind = LAD.element("div", "quiet kind", run.categories[of ? of.category?.[i] : run.videos.category[video]] || "");
    if (of?.verdict?.[i]) {
      kind.prepend(LAD.element("span", of.verdict[i] === 1 ? "tag hit" : "tag false", of.verdict[i] === 1 ? "true" : "false alarm"), " ");
    }
    const said = of ? saidOf(of, i) : "";
    if (said) kind.prepend(LAD.element("span", said === "event" ? "tag yes" : "tag no", said === "event" ? "✓ accepted" : "✗ rejected"), kind.textContent ? " · " : "");
    const looks = of?.looks?.[i]; // of events at the detector's threshold
    if (looks) kind.append(`${kind.textContent ? " · " : ""}looks like: ${looks}`);
    kind.title = kind.textContent; // the row may have no room for all
    text.append(kind);
    row.append(text, LAD.element("div", "peak", (of ? of.peak[i] : run.videos.peak[video]).toFixed(3)));
    return row;
  }

  // ------------------------------------------------------------------ the chosen video

  // An event is shown from its start, so that it can be watched; a video from where there are pictures.
  async function open(place) {
    const i = order[place], of = listed();
    await (of ? show(of.video[i], of.start[i]) : show(i, clips.get(i)?.[0].start ?? 0));
    if (list.active === place && order[place] === i && listed() === of) review?.pick(eventAt(of, i));
  }

  // What can be judged: null for a whole video.
  function eventAt(of, i) {
    return of && { video: run.videos.id[of.video[i]], start: of.start[i], end: of.end[i], label: run.categories[of.category?.[i]] || "" };
  }

  async function show(video, frame) {
    asked = frame;
    if (video !== chosen) {
      chosen = video;
      loading = load(video);
    }
    if (await loading && chosen === video) player.seek(asked);
  }

  // Whether it is there, and still the chosen one.
  async function load(video) {
    $("title").textContent = run.videos.id[video];
    let data;
    try {
      data = await LAD.load(`video-${run.videos.data[video]}`);
    } catch (error) {
      if (chosen === video) {
        $("where").textContent = error.message;
        chosen = -1;
      }
      return false;
    }
    if (chosen !== video) return false; // another one was chosen meanwhile
    const frames = run.videos.frames[video], seconds = run.videos.seconds[video];
    times = timesOf(data, frames);
    const scores = new Uint16Array(LAD.bytes(data.scores).buffer);
    probabilities = LAD.bytes(data.probabilities);
    classes = data.classes;
    player.load({
      times,
      parts: run.videos.link[video]
        ? [{ start: 0, end: frames, address: run.videos.link[video] }]
        : (clips.get(video) || []).map(({ start, end, file }) => ({ start, end, address: file })),
      stills: new Map((stills.get(video) || []).map(({ frame, file }) => [frame, file])),
      problem: run.videos.problem[video],
    });
    const events = [...Array(run.events.count).keys()].filter((i) => run.events.video[i] === video && run.events.looks[i]);
    current = { video, data, events, scores: Float32Array.from(scores, (score) => score / 65535), seconds };
    drawCurve();
    $("curve").setAttribute("aria-valuemax", frames - 1);
    $("categories").hidden = !classes.length;
    const notes = [...run.videos.warnings[video]];
    if (run.videos.label[video]) notes.unshift(`Label: ${run.videos.label[video].split("|").join(", ")}`);
    if (run.videos.problem[video]) notes.push(`No pictures: ${run.videos.problem[video]}`);
    review?.refresh();
    $("notes").replaceChildren(...notes.map((note) => LAD.element("li", "", note)));
    return true;
  }
  let current = null;

  function timesOf(data, frames) {
    const found = new Float64Array(frames);
    if (data.gaps === undefined) return found.map((_, frame) => frame * data.step);
    const gaps = new Uint32Array(LAD.bytes(data.gaps).buffer);
    for (let frame = 1; frame < frames; frame += 1) found[frame] = found[frame - 1] + gaps[frame - 1] / 1e6;
    return found;
  }

  // The curve, with the events at the threshold, exact to the frame.
  function drawCurve() {
    if (!current) return;
    const { video, scores, seconds } = current;
    const ends = (frame) => (frame + 1 < times.length ? times[frame + 1] : seconds);
    const spans = (intervals) => intervals.map(([start, end]) => [times[start], ends(end - 1)]);
    const own = [];
    for (let i = 0; wanted.threshold === threshold && i < run.events.count; i += 1) {
      if (run.events.video[i] === video) own.push([run.events.start[i], run.events.end[i]]);
    }
    const found = wanted.threshold === threshold
      ? own
      : LAD.eventsAbove(scores.length, (i) => scores[i] > wanted.threshold, (i) => times[i], ends, run.rule);
    const above = wanted.threshold === threshold ? run.videos.threshold[video] : wanted.threshold;
    curve.show({ times, scores, found: spans(found), truth: spans(run.truth[video] || []), threshold: above, end: seconds });
    $("truth-key").hidden = !run.truth[video];
    curve.move(times[player.frame] || 0);
  }

  function moved(frame) {
    if (!current) return;
    const time = times[frame], score = current.scores[frame], frames = times.length;
    const recorded = run.videos.recorded[chosen];
    const said = `frame ${frame} of ${frames} · ${LAD.clock(time, 3)} · score ${score.toFixed(3)}`;
    // A file's clock is in UTC and often that of its end, or of a copy: so it is said whose it is.
    const clock = recorded ? ` · ${new Date(Date.parse(recorded) + time * 1000).toISOString().replace("T", " ").slice(0, 22)} UTC by the file` : "";
    $("where").textContent = said + clock;
    const event = current.events.find((i) => run.events.start[i] <= frame && frame < run.events.end[i]);
    $("looks").textContent = event === undefined ? "" : `Looks like: ${run.events.looks[event]}`;
    $("curve").setAttribute("aria-valuenow", frame);
    $("curve").setAttribute("aria-valuetext", said);
    curve.move(time);
    if ($("categories").open) drawShares();
  }

  function drawShares() {
    const row = Math.floor(player.frame / 16) * classes.length;
    const shares = classes.map((kind, place) => [run.categories[kind], (probabilities[row + place] || 0) / 255]);
    shares.sort((a, b) => b[1] - a[1]);
    $("shares").replaceChildren(...shares.map(([name, share]) => {
      const line = LAD.element("div", "share"), bar = LAD.element("span", "bar"), fill = LAD.element("span", "fill");
      fill.style.width = `${share * 100}%`;
      bar.append(fill);
      line.append(LAD.element("span", "name", name), bar, LAD.element("span", "percent", `${Math.round(share * 100)} %`));
      return line;
    }));
  }

  // ------------------------------------------------------------------ what people do

  function view(name) {
    for (const one of VIEWS) $(`view-${one}`).setAttribute("aria-pressed", one === name);
    $("look").hidden = name === "run";
    $("run").hidden = name !== "run";
    if (name === "run") {
      player.video.pause();
      return;
    }
    wanted.view = name;
    $("verdicts").hidden = !run.labelled || name !== "events";
    refresh();
  }

  async function setThreshold(value) {
    wanted.threshold = value;
    const own = value === threshold && run.videos.threshold.some((one) => one !== threshold);
    $("threshold-said").textContent = own ? "of each camera" : value.toFixed(3);
    $("threshold-reset").hidden = value === threshold;
    if (value === threshold) {
      events = run.events;
    } else {
      const blocks = await LAD.load("blocks");
      if (wanted.threshold !== value) return; // it has moved on
      if (blocks.of !== run.made) {
        $("shown").textContent = "This page was written anew meanwhile: load it again.";
        return;
      }
      if (!blocks.ready) {
        blocks.peaks = blocks.peaks.map(LAD.bytes);
        blocks.kinds = blocks.kinds.map((text) => new Uint16Array(LAD.bytes(text).buffer));
        blocks.ready = true;
      }
      events = LAD.eventsOfBlocks(run, blocks, value);
    }
    refresh();
    drawCurve();
  }

  let due = false;
  function soon(what) { // once a picture, however often a slider says that it moved
    if (due) return;
    due = true;
    requestAnimationFrame(() => {
      due = false;
      what();
    });
  }

  const step = (by) => list.choose(list.active < 0 ? 0 : list.active + by);
  const KEYS = {
    n: () => step(1), p: () => step(-1), " ": () => opening.then(() => player.toggle()), ",": () => player.step(-1), ".": () => player.step(1),
    ArrowLeft: () => player.skip(-1), ArrowRight: () => player.skip(1), "/": () => { $("filters").open = true; $("filter-video").focus(); },
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || $("look").hidden) return;
    const { target } = event, types = target.closest("input:not([type=range]), select, textarea") || (target.type === "range" && event.key.startsWith("Arrow"));
    const presses = event.key === " " && target.closest("button, summary"); // a key that these have themselves
    const keys = { ...KEYS, ...review?.keys };
    if (types || presses || !(event.key in keys)) return;
    if (event.repeat && !(event.key in KEYS)) return; // a key that is held says one thing about one event
    event.preventDefault();
    keys[event.key]();
  });
  $("play").addEventListener("click", () => opening.then(() => player.toggle()));
  $("video").addEventListener("click", () => player.toggle());
  $("back").addEventListener("click", () => player.step(-1));
  $("on").addEventListener("click", () => player.step(1));
  $("zoom-out").addEventListener("click", () => curve.unzoom());
  $("categories").addEventListener("toggle", () => { if ($("categories").open && current) drawShares(); });
  for (const name of VIEWS) $(`view-${name}`).addEventListener("click", () => view(name));
  $("threshold").addEventListener("input", () => soon(() => setThreshold(Number($("threshold").value))));
  $("threshold-reset").addEventListener("click", () => {
    $("threshold").value = threshold;
    setThreshold(threshold);
    $("threshold").focus();
  });
  const filters = { "filter-video": "video", "filter-category": "category", "filter-verdict": "verdict", "filter-review": "review" };
  for (const [id, key] of Object.entries(filters)) {
    $(id).addEventListener("input", () => {
      wanted[key] = $(id).value;
      refresh();
    });
  }
  $("filter-score").addEventListener("input", () => {
    wanted.score = Number($("filter-score").value) || 0;
    refresh();
  });
  $("filters").querySelector("form").addEventListener("submit", (event) => event.preventDefault());

  // ------------------------------------------------------------------ verdicts

  // Draw the list anew where it is.
  function redraw() {
    const { active } = list, i = order[active], top = $("list").scrollTop;
    refresh();
    list.fill(order.length, i === undefined ? -1 : order.indexOf(i));
    $("list").scrollTop = top;
    list.show();
  }

  // A verdict was given: on to the next event.
  function judged() {
    const { active } = list, i = order[active];
    redraw();
    if (active < 0 || !listed()) return;
    const next = order[active] === i ? active + 1 : active; // it may have left the list
    if (next < order.length) list.choose(next);
  }

  async function startReview() {
    const verdicts = new LAD.Verdicts();
    await verdicts.load();
    const last = () => current && current.seconds;
    review = new LAD.Review({
      run,
      judged,
      opening: () => opening,
      changed: redraw,
      video: () => (current ? run.videos.id[current.video] : null),
      frame: () => player.frame,
      from: (frame) => times[frame] ?? last(),
      to: (end) => (end < times.length ? times[end] : last()),
      frameAfter: (frame, seconds) => Math.max(frame + 1, LAD.frameAt(times, times[frame] + seconds)),
      show: (id, frame) => show(run.videos.id.indexOf(id), frame),
      mark: (said) => curve.review(said),
    }, verdicts);
    redraw();
    if (list.active >= 0 && listed()) review.pick(eventAt(listed(), order[list.active]));
  }

  // ------------------------------------------------------------------ the first picture

  document.title = `${run.name} · lad`;
  $("name").textContent = run.name;
  const hours = run.videos.seconds.reduce((sum, seconds) => sum + seconds, 0) / 3600;
  const long = hours < 1 ? `${(hours * 60).toFixed(0)} min` : `${hours.toFixed(1)} h`;
  $("counts").textContent = `${LAD.count(run.videos.id.length, "video")}, ${long}, ${LAD.count(run.events.count, "event")}${run.facts.detector ? ` · detector: ${run.facts.detector}` : ""}`;
  $("looks").hidden = !(run.events.looks || []).some(Boolean);
  if (run.facts.doubt) {
    $("doubt").textContent = `The detector may be worth nothing: ${run.facts.doubt}`;
    $("doubt").hidden = false;
  }
  run.categories.forEach((name, place) => {
    const option = LAD.element("option", "", name);
    option.value = place;
    $("filter-category").append(option);
  });
  if (matchMedia("(max-width: 800px)").matches) $("filters").open = false;
  $("threshold").value = threshold;
  setThreshold(threshold);
  LAD.showRun($("run"), run, (video, frame) => {
    view("events");
    opening = show(video, frame).then(() => review?.pick(null)); // what is judged is what is shown
  });
  view("events");
  if (order.length) list.choose(0);
  else if (run.videos.id.length) {
    view("videos");
    list.choose(0);
  }
  if (run.served) {
    startReview().catch((error) => {
      $("unsaid").textContent = `Nothing can be reviewed here: ${error.message}.`;
      $("unsaid").hidden = false;
    });
  }
})();
