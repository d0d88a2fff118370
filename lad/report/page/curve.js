// The score curve of a video: uPlot, with events, the threshold and the cursor drawn into it.
"use strict";

LAD.COLUMNS = 2000; // of a curve that are drawn: a screen has no more

LAD.Curve = class {
  // box: where it is drawn. seek(seconds): somebody clicked. zoomed(is): whether a part of it is shown.
  constructor(box, seek, zoomed) {
    Object.assign(this, { box, seek, zoomed, plot: null, times: [], scores: [], found: [], truth: [], said: [], threshold: 1, at: 0 });
    new ResizeObserver(() => this.plot?.setSize(this.size())).observe(box);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.plot?.redraw());
  }

  size() {
    return { width: this.box.clientWidth, height: this.box.clientHeight };
  }

  // Mark what people said of it, and what they are about to: {from, to, kind} in seconds.
  review(said) {
    this.said = said;
    this.plot?.redraw(false, false);
  }
  // times, scores: of each frame. found, truth: [start, end] in seconds. end: when the video ends.
  show({ times, scores, found, truth, threshold, end }) {
    Object.assign(this, { times, scores, found, truth, threshold, end, at: 0, low: 0, high: end });
    this.plot?.destroy();
    this.plot = null;
    const colour = (name) => () => LAD.colour(name);
    const axis = { stroke: colour("--quiet"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false }, font: "11px system-ui" };
    this.plot = new uPlot({
      ...this.size(),
      legend: { show: false },
      padding: [12, 22, 0, 0],
      scales: { x: { time: false, range: (_, low, high) => [low ?? 0, high ?? end] }, y: { range: [0, 1] } },
      axes: [
        { ...axis, size: 22, gap: 2, space: 64, values: (_, values) => values.map((value) => LAD.clock(value, value % 1 ? 1 : 0)) },
        { ...axis, size: 30, gap: 2, splits: [0, 0.5, 1], values: (_, values) => values.map((value) => value.toFixed(1)) },
      ],
      series: [{}, { stroke: colour("--score"), width: 1.5, points: { show: false } }],
      cursor: { y: false, points: { show: false }, drag: { x: true, y: false, dist: 8 } },
      hooks: {
        drawClear: [(plot) => this.shade(plot)],
        draw: [(plot) => this.mark(plot)],
        setScale: [(plot, name) => { if (name === "x") this.rescaled(plot); }],
      },
    }, this.points(0, end), this.box);
    this.plot.over.addEventListener("click", (event) => this.seek(this.plot.posToVal(event.offsetX, "x")));
    this.plot.setScale("x", { min: 0, max: end });
  }

  // The curve between two times with as many points as can be seen: the lowest and highest of each column.
  points(low, high) {
    const first = Math.max(0, LAD.frameAt(this.times, low) - 1);
    const last = Math.min(this.times.length, LAD.frameAt(this.times, high) + 2);
    const step = Math.ceil((last - first) / LAD.COLUMNS);
    const x = [], y = [];
    for (let start = first; start < last; start += step) {
      const end = Math.min(start + step, last);
      let lowest = start, highest = start;
      for (let i = start; i < end; i += 1) {
        if (this.scores[i] < this.scores[lowest]) lowest = i;
        if (this.scores[i] > this.scores[highest]) highest = i;
      }
      for (const i of lowest < highest ? [lowest, highest] : lowest > highest ? [highest, lowest] : [lowest]) {
        x.push(this.times[i]);
        y.push(this.scores[i]);
      }
    }
    x.push(high >= this.end ? this.end : this.times[last - 1]); // the last frame is shown until it ends
    y.push(this.scores[last - 1]);
    return [x, y];
  }

  rescaled(plot) {
    const { min, max } = plot.scales.x;
    const whole = min <= 0 && max >= this.end;
    this.zoomed(!whole);
    if (this.times.length <= LAD.COLUMNS || (min === this.low && max === this.high)) return;
    Object.assign(this, { low: min, high: max });
    queueMicrotask(() => { // uPlot looks for what is in view before its hooks, so it is told of both anew
      if (plot !== this.plot) return;
      plot.batch(() => {
        plot.setData(this.points(min, max), false);
        plot.setScale("x", { min, max });
      });
    });
  }

  unzoom() {
    this.plot?.setScale("x", { min: 0, max: this.end });
  }

  shade(plot) {
    const { ctx } = plot, { top, height } = plot.bbox;
    const strip = (events, colour, y, high) => {
      ctx.fillStyle = LAD.colour(colour);
      for (const [from, to] of events) {
        const left = plot.valToPos(from, "x", true), right = plot.valToPos(to, "x", true);
        ctx.fillRect(left, y, Math.max(right - left, 1), high);
      }
    };
    ctx.save();
    ctx.beginPath();
    ctx.rect(plot.bbox.left, 0, plot.bbox.width, top + height);
    ctx.clip();
    strip(this.truth, "--true-shade", top, height);
    strip(this.found, "--found", top - 9 * devicePixelRatio, 6 * devicePixelRatio);
    for (const { from, to, kind } of this.said) {
      if (kind === "draft") strip([[from, to]], "--draft", top, height);
      else strip([[from, to]], kind === "event" ? "--yes" : "--no", top + height - 7 * devicePixelRatio, 6 * devicePixelRatio);
    }
    ctx.restore();
  }

  mark(plot) {
    const { ctx } = plot, { left, top, width, height } = plot.bbox;
    const y = Math.round(plot.valToPos(this.threshold, "y", true));
    const x = plot.valToPos(this.at, "x", true);
    ctx.save();
    ctx.strokeStyle = LAD.colour("--quiet");
    ctx.lineWidth = devicePixelRatio;
    ctx.setLineDash([4 * devicePixelRatio, 4 * devicePixelRatio]);
    ctx.beginPath();
    ctx.moveTo(left, y);
    ctx.lineTo(left + width, y);
    ctx.stroke();
    if (x >= left && x <= left + width) {
      ctx.setLineDash([]);
      ctx.strokeStyle = LAD.colour("--cursor");
      ctx.lineWidth = 2 * devicePixelRatio;
      ctx.beginPath();
      ctx.moveTo(x, top);
      ctx.lineTo(x, top + height);
      ctx.stroke();
    }
    ctx.restore();
  }

  // Move the cursor.
  move(seconds) {
    this.at = seconds;
    this.plot?.redraw(false, false);
  }
};

LAD.colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
