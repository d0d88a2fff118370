// How good the run is: numbers, pictures, the worst mistakes, and what it was made with.
"use strict";

LAD.MOST_MISTAKES = 50;

// place: the element that gets it. go(video, frame): show a moment.
LAD.showRun = function (place, run, go) {
  const { facts } = run;
  const section = (title) => {
    const part = LAD.element("section");
    part.append(LAD.element("h2", "", title));
    place.append(part);
    return part;
  };
  const table = (part, head, rows) => {
    const box = LAD.element("div", "scroll"), made = LAD.element("table");
    if (head) {
      const row = made.createTHead().insertRow();
      for (const text of head) {
        const cell = LAD.element("th", "", text);
        cell.scope = "col";
        row.append(cell);
      }
    }
    const body = made.createTBody();
    for (const cells of rows) {
      const row = body.insertRow();
      cells.forEach((text, column) => {
        const cell = LAD.element(column ? "td" : "th", /^[0-9.]*$/.test(text) ? "number" : "", text);
        if (!column) cell.scope = "row";
        row.append(cell);
      });
    }
    box.append(made);
    part.append(box);
  };

  if (facts.numbers) {
    const at = facts.threshold === null || facts.threshold === undefined ? "value" : `at ${facts.threshold.toFixed(3)}`;
    const rows = facts.numbers.map(([name, value, fixed, why]) => [name, why ? `undefined: ${why}` : value, fixed]);
    table(section("Metrics"), ["", at, "at 0.5"], rows);
  } else {
    section("Metrics").append(LAD.element("p", "quiet", "This run was not evaluated: its videos have no labels, or `lad evaluate` was not run."));
  }
  if (run.plots.length) {
    const part = section("Plots"), names = { roc: "ROC curve", confusion: "Confusion matrix", reliability: "Reliability of the scores" };
    const box = LAD.element("div", "plots");
    for (const address of run.plots) {
      const image = LAD.element("img");
      image.src = address;
      image.loading = "lazy";
      image.alt = names[address.split("/").pop().split(".")[0]] || "plot";
      box.append(image);
    }
    part.append(box);
  }
  if (run.labelled) {
    // What a detector gets wrong of the videos that it learned from says little.
    const counts = (video) => !facts.numbers || run.videos.split[video] === "test";
    const of = facts.numbers ? " of the test videos" : "";
    const worst = (events, isOne) => [...Array(events.count).keys()].filter((i) => isOne(i) && counts(events.video[i])).slice(0, LAD.MOST_MISTAKES);
    mistakes(section(`Worst false alarms${of}`), run.events, worst(run.events, (i) => run.events.verdict[i] === 2), "None: every found event overlaps a true one.");
    mistakes(section(`Worst misses${of}`), run.misses, worst(run.misses, () => true), "None: every true event was found.");
  }
  if (facts.protocol) table(section("Protocol"), null, facts.protocol);
  const made = section("Made with");
  table(made, null, [...facts.made, ...(facts.weights || []).map(([stream, weights]) => [`weights, ${stream}`, weights]), ...(facts.fingerprints || []).map(([name, value]) => [`fingerprint, ${name}`, value])]);
  if (facts.config) {
    const details = LAD.element("details");
    details.append(LAD.element("summary", "", "Configuration"), LAD.element("pre", "", facts.config));
    made.append(details);
  }

  function mistakes(part, events, places, none) {
    if (!places.length) {
      part.append(LAD.element("p", "quiet", none));
      return;
    }
    const list = LAD.element("ol", "mistakes");
    for (const place of places) {
      const video = events.video[place];
      const button = LAD.element("button", "", "");
      button.type = "button";
      button.append(
        LAD.element("span", "peak", events.peak[place].toFixed(3)),
        LAD.element("span", "name", run.videos.id[video]),
        LAD.element("span", "quiet", `${LAD.clock(events.from[place])} – ${LAD.clock(events.to[place])}`),
      );
      button.addEventListener("click", () => go(video, events.start[place]));
      const item = LAD.element("li");
      item.append(button);
      list.append(item);
    }
    part.append(list);
  }
};
