// A video, frame by frame. Where it is, is a frame's number; seconds come from the times that the scores have.
"use strict";

LAD.EARLY = 1e-3; // seconds by which browsers may round the time of a frame

// The frame on display at a time.
LAD.frameAt = function (times, seconds) {
  let low = 0, high = times.length;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (times[middle] <= seconds + LAD.EARLY) low = middle;
    else high = middle;
  }
  return low;
};

LAD.Player = class {
  // moved(frame): another frame is shown. changed(): it plays, or does not any more.
  constructor(stage, moved, changed) {
    this.video = stage.querySelector("video");
    this.none = stage.querySelector("#no-picture");
    this.still = stage.querySelector("#still");
    this.why = stage.querySelector("#why");
    Object.assign(this, { moved, changed, times: [], parts: [], stills: new Map(), part: null, frame: 0, problem: "", placed: false });
    this.video.addEventListener("play", () => { this.placed = false; });
    for (const name of ["play", "pause", "ended"]) this.video.addEventListener(name, changed);
    this.video.addEventListener("loadedmetadata", () => this.place());
    this.video.addEventListener("error", () => this.failed());
    if ("requestVideoFrameCallback" in HTMLVideoElement.prototype) this.watchFrames();
    else this.watchClock();
  }

  // parts: {start, end, address} in order. stills: frame -> address of a thumbnail.
  load({ times, parts, stills, problem }) {
    this.video.pause();
    this.video.removeAttribute("src");
    Object.assign(this, { times, parts, stills, problem, part: null });
  }

  get playing() {
    return !this.video.paused && !this.video.ended;
  }

  // Each frame says when it is shown.
  watchFrames() {
    const seen = (_, { mediaTime }) => {
      this.at(mediaTime);
      this.video.requestVideoFrameCallback(seen);
    };
    this.video.requestVideoFrameCallback(seen);
  }

  watchClock() {
    const look = () => {
      if (this.playing) this.at(this.video.currentTime);
      requestAnimationFrame(look);
    };
    requestAnimationFrame(look);
  }

  at(seconds) {
    // Where it stands, what was asked for is what is shown.
    if (!this.part || this.video.seeking || (this.placed && !this.playing)) return;
    const frame = LAD.frameAt(this.times, this.times[this.part.start] + seconds);
    this.frame = Math.min(frame, this.part.end - 1);
    this.moved(this.frame);
  }

  seek(frame) {
    this.frame = Math.max(0, Math.min(frame, this.times.length - 1));
    const part = this.parts.find(({ start, end }) => start <= this.frame && this.frame < end) || null;
    this.video.hidden = !part;
    this.none.hidden = Boolean(part);
    if (!part) this.without();
    if (part && part !== this.part) this.video.src = part.address;
    else if (part && this.video.readyState > 0) this.place();
    this.part = part;
    this.moved(this.frame);
  }

  // Go to the middle of the frame, so that no rounding leads to its neighbour.
  place() {
    if (!this.part) return;
    this.placed = true;
    const begin = this.times[this.part.start], time = this.times[this.frame];
    const next = this.frame + 1 < this.times.length ? this.times[this.frame + 1] : time + 0.02;
    this.video.currentTime = Math.max(0, Math.min((time + Math.min(next, time + 0.1)) / 2 - begin, this.video.duration));
  }

  // There is no moving picture here.
  without() {
    this.video.pause();
    const [near] = [...this.stills.keys()].sort((a, b) => Math.abs(a - this.frame) - Math.abs(b - this.frame));
    this.still.hidden = near === undefined;
    if (near !== undefined) this.still.src = this.stills.get(near);
    this.why.textContent = this.problem || (this.parts.length ? "The report holds moments around events: none here." : "The report holds no moving picture of this video.");
  }

  failed() {
    if (!this.part) return;
    this.problem = "This browser cannot show the video: make the report with --videos clips, or copy the whole folder.";
    this.part = null;
    this.video.hidden = true;
    this.none.hidden = false;
    this.without();
  }

  toggle() {
    if (this.playing) this.video.pause();
    else this.play();
  }

  // Where there is no picture, from the next one on; at the end of a clip, from its start.
  play() {
    if (!this.part || this.frame >= this.part.end - 1) {
      const next = this.parts.find(({ start }) => start > this.frame) || this.part || this.parts[0];
      if (!next) return;
      this.seek(next.start);
    }
    this.video.play().catch(() => {});
  }

  step(frames) {
    this.video.pause();
    this.seek(this.frame + frames);
  }

  skip(seconds) {
    this.seek(LAD.frameAt(this.times, this.times[this.frame] + seconds));
  }
};
