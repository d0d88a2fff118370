// Where data come in. A page that is opened from the disk may read no JSON, so data files are scripts, each of which
// calls `LAD.give(name, data)`; `LAD.load(name)` adds the script of one that is not there yet.
"use strict";
const LAD = { given: new Map(), waiting: new Map() };

LAD.give = function (name, data) {
  LAD.given.set(name, data);
};

LAD.MOST_KEPT = 12; // videos whose curves are kept in memory

LAD.load = function (name) {
  if (LAD.given.has(name)) return Promise.resolve(LAD.given.get(name));
  if (!LAD.waiting.has(name)) {
    LAD.waiting.set(name, new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = "data/" + encodeURIComponent(name) + ".js";
      script.onload = () => resolve(LAD.given.get(name));
      script.onerror = () => reject(new Error("data/" + name + ".js is missing: copy the whole folder"));
      document.head.append(script);
    }).finally(() => {
      LAD.waiting.delete(name);
      const videos = [...LAD.given.keys()].filter((key) => key.startsWith("video-"));
      if (videos.length > LAD.MOST_KEPT) LAD.given.delete(videos[0]);
      document.querySelectorAll("head script").forEach((script) => script.remove());
    }));
  }
  return LAD.waiting.get(name);
};

// The bytes that a base64 text stands for.
LAD.bytes = function (text) {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i += 1) bytes[i] = binary.charCodeAt(i);
  return bytes;
};

// A new element with text in it, never markup: names come out of files.
LAD.element = function (kind, className, text) {
  const element = document.createElement(kind);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
};

// 75.5 -> "1:15.5"
LAD.clock = function (seconds, digits = 1) {
  const scale = 10 ** digits;
  const all = Math.round(seconds * scale);
  const minutes = Math.floor(all / scale / 60);
  const rest = ((all - minutes * 60 * scale) / scale).toFixed(digits).padStart(digits ? digits + 3 : 2, "0");
  const hours = Math.floor(minutes / 60);
  return hours ? `${hours}:${String(minutes % 60).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
};

// "12 events", "1 event"
LAD.count = (number, word) => `${number.toLocaleString("en")} ${word}${number === 1 ? "" : "s"}`;
