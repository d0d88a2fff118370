// Events above a threshold, by the rule of `lad score` (lad/intervals.py).
"use strict";

LAD.ROUNDING = 1e-6; // seconds: 0.3 - 0.1 is not quite 0.2

// Half-open intervals of places that are above, near ones as one, and without blips.
// begins(i), ends(i): the seconds at which place i goes on and off display.
LAD.eventsAbove = function (count, isAbove, begins, ends, rule) {
  const merged = [];
  for (let i = 0; i < count; i += 1) {
    if (!isAbove(i)) continue;
    const start = i;
    while (i + 1 < count && isAbove(i + 1)) i += 1;
    const last = merged[merged.length - 1];
    if (last && begins(start) - ends(last[1] - 1) < rule.merge - LAD.ROUNDING) last[1] = i + 1;
    else merged.push([start, i + 1]);
  }
  return merged.filter(([start, end]) => ends(end - 1) - begins(start) >= rule.least - LAD.ROUNDING);
};

// All events of all videos at a threshold, worst first, from the peaks of blocks of frames: as exact as a block is long.
LAD.eventsOfBlocks = function (run, blocks, threshold) {
  const found = { video: [], start: [], end: [], from: [], to: [], category: [], peak: [], frame: [], verdict: [] };
  run.videos.id.forEach((_, video) => {
    const peaks = blocks.peaks[video], kinds = blocks.kinds[video];
    const frames = run.videos.frames[video], second = run.videos.seconds[video] / frames;
    const at = (block) => Math.min(block * run.block, frames);
    // A block's peak was rounded up to a step of 1/255.
    const above = (block) => (peaks[block] - 0.5) / 255 > threshold;
    const events = LAD.eventsAbove(peaks.length, above, (i) => at(i) * second, (i) => at(i + 1) * second, run.rule);
    for (const [first, last] of events) {
      let top = first;
      const votes = new Map();
      for (let i = first; i < last; i += 1) {
        if (peaks[i] > peaks[top]) top = i;
        votes.set(kinds[i], (votes.get(kinds[i]) || 0) + 1);
      }
      const start = at(first), end = at(last);
      found.video.push(video);
      found.start.push(start);
      found.end.push(end);
      found.from.push(start * second);
      found.to.push(end * second);
      found.category.push([...votes].reduce((a, b) => (b[1] > a[1] ? b : a))[0]);
      found.peak.push(peaks[top] / 255);
      found.frame.push(at(top));
      found.verdict.push(LAD.verdict(run, video, start, end));
    }
  });
  return found;
};

// 0: nothing is known, 1: it overlaps a true event, 2: a false alarm.
LAD.verdict = function (run, video, start, end) {
  if (!run.truth[video]) return 0;
  return run.truth[video].some(([from, to]) => start < to && from < end) ? 1 : 2;
};
