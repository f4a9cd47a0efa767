// Plots: inline SVG, drawn anew for the width at hand, so that text keeps its size on a phone.

const EDGE = { left: 52, right: 14, top: 18, bottom: 42 };

// A figure with the sentence that says how to read it; `draw` gets a frame of the width at hand.
function plot({ title, reading, keys = [], height = 260, x, y, draw }) {
  const box = element("div", { class: "plot" });
  const redraw = (width) => {
    const svg = shape("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img" },
      shape("title", {}, title), shape("desc", {}, reading));
    draw(frame(svg, width, height, x, y));
    box.replaceChildren(svg);
  };
  let drawn = 0;
  new ResizeObserver(([{ contentRect }]) => {
    const width = Math.floor(contentRect.width);
    if (width > 0 && width !== drawn) redraw((drawn = width));
  }).observe(box);
  return element("figure", {}, element("figcaption", {}, element("h3", {}, title), element("p", { class: "note" }, reading),
    keys.length ? legend(...keys) : null), box);
}

// Rounds up to what a reader likes to divide: 1, 2, 2.5 or 5 times a power of ten.
function roundStep(most, steps) {
  const raw = most / steps;
  const power = 10 ** Math.floor(Math.log10(raw));
  return [1, 2, 2.5, 5, 10].map((m) => m * power).find((step) => step >= raw * 0.999);
}

// Axes, and places on them. x: { least, most, ticks: [[at, text]], label }; y: { most, format, label }.
function frame(svg, width, height, x, y) {
  const right = width - EDGE.right;
  const bottom = height - EDGE.bottom;
  const step = roundStep(y.most > 0 ? y.most : 1, 4);
  const top = step * Math.max(1, Math.ceil(y.most / step - 1e-9));
  const atX = (value) => EDGE.left + ((right - EDGE.left) * (value - x.least)) / (x.most - x.least || 1);
  const atY = (value) => bottom - ((bottom - EDGE.top) * value) / top;
  for (let value = 0; value <= top + step / 2; value += step) {
    svg.append(shape("line", { class: "grid", x1: EDGE.left, x2: right, y1: atY(value), y2: atY(value) }),
      shape("text", { x: EDGE.left - 8, y: atY(value) + 4, "text-anchor": "end" }, y.format(value)));
  }
  for (const [value, text] of x.ticks) {
    svg.append(shape("text", { x: atX(value), y: bottom + 18, "text-anchor": "middle" }, text));
  }
  svg.append(shape("text", { x: EDGE.left, y: 10 }, y.label),
    shape("text", { x: (EDGE.left + right) / 2, y: height - 6, "text-anchor": "middle" }, x.label));
  return { svg, atX, atY, right, bottom, width };
}

function bar({ svg, bottom }, look, x, y, width, hint) {
  svg.append(shape("rect", { class: look, x, y, width: Math.max(0, width), height: Math.max(0, bottom - y), rx: 1 }, shape("title", {}, hint)));
}

// A line through all points that have a value; where one has none, it is broken.
function line({ svg, atX, atY }, look, points) {
  let path = "";
  let isDrawn = false;
  for (const [x, y] of points) {
    if (isNumber(y)) path += `${isDrawn ? "L" : "M"}${atX(x).toFixed(1)} ${atY(y).toFixed(1)}`;
    isDrawn = isNumber(y);
  }
  svg.append(shape("path", { class: look, d: path }));
}

function dots({ svg, atX, atY }, look, points) {
  for (const [x, y, hint] of points) {
    if (isNumber(y)) svg.append(shape("circle", { class: look, cx: atX(x), cy: atY(y), r: 3 }, shape("title", {}, hint)));
  }
}

function threshold({ svg, atX, bottom, right }, value) {
  const isLeft = atX(value) > right - 120;
  svg.append(shape("line", { class: "rule", x1: atX(value), x2: atX(value), y1: EDGE.top - 4, y2: bottom }),
    shape("text", { class: "strong", x: atX(value) + (isLeft ? -6 : 6), y: EDGE.top + 6, "text-anchor": isLeft ? "end" : "start" },
      `threshold ${decimal(value)}`));
}

const TENTHS = [0, 0.2, 0.4, 0.6, 0.8, 1].map((value) => [value, value.toFixed(1)]);

function similarityPlot(bins, inForce) {
  const most = Math.max(...bins);
  return plot({
    title: "Similarity of repairs",
    reading: "Each bar counts repairs by how alike the least similar pair of calls is; left of the line a repair is deep.",
    keys: [["before", "deep"], ["after", "shallow"]],
    x: { least: 0, most: 1, ticks: TENTHS, label: "similarity" },
    y: { most, format: count, label: "repairs" },
    draw(on) {
      bins.forEach((height, k) => {
        const [from, to] = [k / bins.length, (k + 1) / bins.length];
        const look = to <= inForce + 1e-9 ? "before" : "after";
        bar(on, look, on.atX(from) + 1, on.atY(height), on.atX(to) - on.atX(from) - 2,
          `${decimal(from)} to ${decimal(to)}: ${many(height, "repair")}`);
      });
      threshold(on, inForce);
    },
  });
}

function thresholdPlot(sensitivity) {
  const { by_retries: curves, max_retries: inForce, threshold: at, without_junk: exact, semantic } = sensitivity;
  const own = curves.find((curve) => curve.max_retries === inForce);
  const points = (curve) => curve.deep.map((deep, k) => [k / (curve.deep.length - 1), deep]);
  const all = [...curves, exact, semantic].filter((curve) => curve && curve.deep.length > 1);
  const others = [exact.deep.length > 1 ? [exact, "other dashed", "without junk"] : null,
    semantic ? [semantic, "other dotted", "by meaning"] : null].filter(Boolean);
  return plot({
    title: "Deep repairs at every threshold",
    reading: "Each line counts the repairs that would be deep, for one K (longest failure run that is repaired); steep at the dashed rule means that the threshold decides much.",
    height: 300,
    keys: [own ? ["line after", `K = ${inForce}, in force`] : null, ["line after quiet", `${own ? "other " : ""}K, 1 to ${curves.length} upwards`],
      ...others.map(([, look, text]) => [`line ${look}`, text])].filter(Boolean),
    x: { least: 0, most: 1, ticks: TENTHS, label: "threshold" },
    y: { most: Math.max(...all.flatMap((curve) => curve.deep), 0), format: count, label: "deep repairs" },
    draw(on) {
      for (const [curve, look] of others) line(on, look, points(curve));
      for (const curve of curves) {
        if (curve.max_retries !== inForce) line(on, "after thin quiet", points(curve));
      }
      if (own) line(on, "after", points(own));
      threshold(on, at);
    },
  });
}

function positionPlot(before, after) {
  const length = Math.max(before.length, after.length);
  const every = Math.max(1, Math.ceil(length / 8));
  const name = (k) => (k + 1 === 32 ? "32+" : String(k + 1));
  const points = (side, tallies) => tallies.map((tally, k) =>
    [k, rate(tally), `attempt ${name(k)}, ${side}: ${count(tally.failed)} of ${count(tally.attempts)} failed`]);
  const ticks = Array.from({ length }, (_, k) => [k, name(k)]).filter(([k]) => k % every === 0);
  return plot({
    title: "Errors by position",
    reading: "The share of attempts that fail, by their place among the attempts of their rollout; few rollouts get far to the right. Purifying moves what follows a repair to the left, so the lines may cross.",
    keys: [["before", "before"], ["after", "after"]],
    x: { least: length > 1 ? 0 : -1, most: Math.max(1, length - 1), ticks, label: "attempt of its rollout" },
    y: { most: Math.max(...[...before, ...after].map((tally) => rate(tally) ?? 0), 0), format: percentTick, label: "failed" },
    draw(on) {
      for (const [side, tallies] of [["before", before], ["after", after]]) {
        line(on, side, points(side, tallies));
        dots(on, side, points(side, tallies));
      }
    },
  });
}

const percentTick = (value) => `${Number((100 * value).toFixed(1))}%`;

function cascadePlot(before, after) {
  const most = before.after_failures.length;
  const kinds = [["first", (c) => c.first], ["ok", (c) => c.after_ok],
    ...before.after_failures.map((_, k) => [`${k + 1}${k + 1 === most ? "+" : ""}`, (c) => c.after_failures[k]])];
  const rates = kinds.flatMap(([, of]) => [rate(of(before)) ?? 0, rate(of(after)) ?? 0]);
  return plot({
    title: "Failure rate by what came before",
    reading: "Each pair of bars is the share of attempts that fail: the first of a rollout, after an ok attempt, after failures in a row; rising bars are a cascade.",
    keys: [["before", "before"], ["after", "after"]],
    height: 280,
    x: { least: -0.5, most: kinds.length - 0.5, ticks: kinds.map(([name], k) => [k, name]), label: "before it: none, ok, failures in a row" },
    y: { most: Math.max(...rates), format: percentTick, label: "failed" },
    draw(on) {
      const width = Math.min(46, (on.atX(1) - on.atX(0)) * 0.4);
      kinds.forEach(([name, of], k) => {
        [["before", before, -width], ["after", after, 1]].forEach(([side, cascade, shift]) => {
          const tally = of(cascade);
          const value = rate(tally);
          const x = on.atX(k) + shift;
          if (value !== null) {
            bar(on, side, x, on.atY(value), width - 1, `after ${name}, ${side}: ${count(tally.failed)} of ${count(tally.attempts)} failed`);
          }
          const text = value === null ? ABSENT : width > 34 ? percent(value) : `${Math.round(100 * value)}`;
          on.svg.append(shape("text", { x: x + (width - 1) / 2, y: on.atY(value ?? 0) - 5, "text-anchor": "middle" }, text));
        });
      });
    },
  });
}
