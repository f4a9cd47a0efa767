// The numbers of the report, section by section.

const into = (id, ...content) => byId(id).append(...content.flat().filter((part) => part !== null && part !== undefined));
const numeric = (name, of) => ({ name, numeric: true, of });

function drawReport(report) {
  drawHead(report);
  drawDecisions(report);
  drawOverview(report);
  drawErrors(report);
  drawCascade(report);
  drawSimilarity(report);
  drawGuards(report);
  drawGroups(report.groups);
  drawSlices(report);
  drawFine(report);
}

function drawHead({ files, is_purified: isPurified, gate_failures: gates, gates_undecided: undecided, detects_alike: detectsAlike, rows, tool, tool_version: version }) {
  const name = files.length === 0 ? "nothing" : files.length > 2 ? `${shown(files[0].file)} and ${count(files.length - 1)} others` : files[0].file;
  byId("title").textContent = `Audit of ${shown(name)}`;
  document.title = `${shown(name)} \u2013 purify audit`;
  byId("subtitle").textContent = `${many(rows.raw, "row")}. ` + (isPurified
    ? "After is read from the purified files."
    : "After is what purifying with these settings would give; nothing was written.") + ` ${shown(tool)} ${shown(version)}.`;
  if (gates.length > 0) {
    into("gates", element("div", { class: "alert", role: "alert" }, element("strong", {}, many(gates.length, "gate failed", "gates failed")),
      element("ul", {}, gates.map((gate) => element("li", {}, gate)))));
  }
  const doubts = undecided.concat(
    isPurified && rows.left_out > 0 ? `${many(rows.left_out, "raw row is", "raw rows are")} not in the purified data (rejected, dropped, or in another shard): only the raw side counts them.` : [],
    rows.edited > 0 ? `${many(rows.edited, "purified row is", "purified rows are")} not what the record says: they have been changed since.` : [],
    isPurified && !detectsAlike ? "The data was purified with other options for errors: before and after cannot be compared." : []);
  if (doubts.length > 0) {
    into("gates", element("div", { class: "alert", role: "note" }, element("strong", {}, "Before you compare"),
      element("ul", {}, doubts.map((doubt) => element("li", {}, doubt)))));
  }
}

// Plain words for reasons, rules of evidence and what else a record names.
const WORDS = JSON.parse(byId("words").textContent);

const inWords = (kind) => ([name]) => [element("div", {}, name), element("div", { class: "note" }, own(WORDS[kind], name) ?? "")];
const mostFirst = (counts) => Object.entries(counts).sort((a, b) => b[1] - a[1]);

// Before all else: how many failures were repaired, how many were left, and why.
function drawDecisions({ decisions: found, is_purified: isPurified }) {
  const verb = isPurified ? ["was", "were"] : ["would be", "would be"];
  const told = (number, what) => (number > 0 ? [`${count(number)} ${number === 1 ? verb[0] : verb[1]} ${what}`] : []);
  const parts = [...told(found.repaired, "repaired"), ...told(found.masked, "taken out of the loss"), ...told(found.left, "left"),
    ...(found.unrecorded > 0 ? [`of ${count(found.unrecorded)} nothing is recorded`] : [])];
  byId("decisions-lead").textContent = found.failure_runs === 0
    ? "No attempt fails."
    : `${many(found.failure_runs, "failure run")}: ${parts.join(", ")}.`;
  into("decisions-body", block("Why failures were left", null, table([{ name: "reason", of: inWords("reasons") },
    numeric("runs", ([, n]) => count(n)), numeric("share", ([, n]) => percent(share(n, found.failure_runs)))],
  mostFirst(found.reasons), { most: 20, empty: "None was left.", caption: "Why failures were left" })),
  block("Evidence", "How often each rule spoke for or against a correction.", table([{ name: "rule", of: inWords("rules") },
    numeric("runs", ([, n]) => count(n))], mostFirst(found.evidence), { most: 6, empty: "No rule spoke.", caption: "Evidence" })));
}

const times = (value) => (isNumber(value) ? `${decimal(value)}\u00d7` : ABSENT);

function drawOverview(report) {
  const { before, after, repairs, guards } = report;
  const change = [element("span", { class: "before" }, percent(before.error_rate)), element("span", { class: "arrow" }, "\u2192"),
    element("span", { class: "after" }, percent(after.error_rate))];
  const figures = [
    ["Failure rate, before and after", change, `${count(before.failed)} of ${count(before.ok + before.failed)} attempts with a result fail; ${count(after.failed)} of ${count(after.ok + after.failed)} after purifying`],
    ["Repairs", count(repairs.repairs), `in ${count(repairs.rollouts_repaired)} of ${many(before.rollouts, "rollout")}`],
    ["Deep", percent(repairs.deep_rate), `${count(repairs.deep)} replace the reasoning too`],
    ["Cascade", times(before.cascade.ratio), "as likely to fail after a failure as after a success, before purifying"],
    ["Residue", percent(guards.residue_rate), `${count(guards.residue.yes)} still speak of an error that is gone`],
  ];
  into("figures", figures.map(([name, number, note]) => element("div", {}, element("dt", {}, name),
    element("dd", { class: "number" }, number), element("dd", { class: "note" }, note))));
  into("totals", block("Before and after", "Steps hold what a model says in a turn; an attempt is a step with a call.", sides(before, after)),
    element("div", {}, block("Failure runs", "Stretches of failed attempts, by length, and whether the attempt after them is ok.", runs(before)),
      block("Files and rows", null, files(report))));
}

function sides(before, after) {
  const rows = [
    ["Rollouts", count, "rollouts"], ["Messages", count, "messages"], ["Steps", count, "steps"], ["Attempts", count, "attempts"],
    ["Ok", count, "ok"], ["Failed", count, "failed"], ["Open (no result)", count, "open"],
    ["First attempts that are ok", percent, "first_attempt_success_rate"],
    ["Runs corrected", count, "corrected"], ["Runs uncorrected", count, "uncorrected"],
    ["Characters", count, "characters"], ["... on failures", count, "characters_on_failures"],
    ["Tokens", count, "tokens"], ["... on failures", count, "tokens_on_failures"],
  ];
  return table([{ name: "", of: ([name]) => name }, numeric("before", ([, format, key]) => format(before[key])),
    numeric("after", ([, format, key]) => format(after[key]))], rows, { most: rows.length, caption: "Before and after" });
}

function runs(before) {
  return table([{ name: "attempts of the run", of: ([length]) => length }, numeric("corrected", ([, run]) => count(run.corrected)),
    numeric("uncorrected", ([, run]) => count(run.uncorrected))], Object.entries(before.failure_runs),
  { most: 6, empty: "No attempt fails.", caption: "Failure runs" });
}

function files({ files: all, rows }) {
  const reasons = Object.entries(rows.unreadable);
  return [
    table([{ name: "file", of: (f) => f.file }, { name: "format", of: (f) => f.format, short: true }, numeric("rows", (f) => count(f.rows)),
      numeric("bytes", (f) => count(f.bytes))], all, { most: 4, caption: "Files" }),
    element("p", { class: "note" }, rows.purified === null ? null : `${many(rows.purified, "purified row")}, ${count(rows.left_out)} left out. `,
      reasons.length === 0 ? "Every row can be read." : `Rows that can't be read: ${reasons.map(([why, n]) => `${why} ${count(n)}`).join(", ")}.`),
  ];
}

const keysOf = (...maps) => [...new Set(maps.flatMap((map) => Object.keys(map)))];
const own = (map, key) => (Object.hasOwn(map, key) ? map[key] : null);

function drawErrors({ before, after }) {
  const tools = keysOf(before.by_tool, after.by_tool)
    .map((name) => ({ name, before: own(before.by_tool, name), after: own(after.by_tool, name) }))
    .sort((a, b) => (b.before?.failed ?? 0) - (a.before?.failed ?? 0));
  const types = keysOf(before.error_types, after.error_types)
    .map((name) => ({ name, before: own(before.error_types, name) ?? 0, after: own(after.error_types, name) ?? 0 }))
    .sort((a, b) => b.before - a.before);
  const most = types.reduce((found, type) => Math.max(found, type.before, type.after), 0);
  into("errors-body", positionPlot(before.by_position, after.by_position), element("div", { class: "pair" },
    block("By tool", "Bars are the share of a tool's attempts that fail.", legend(["before", "before"], ["after", "after"]), table([
      { name: "tool", of: (t) => t.name }, numeric("attempts", (t) => count(t.before?.attempts)), numeric("before", (t) => percent(rate(t.before))),
      numeric("after", (t) => percent(rate(t.after))), { name: "", bars: true, of: (t) => bars(rate(t.before), rate(t.after), 1) },
    ], tools, { empty: "No attempt has a result.", caption: "Errors by tool" })),
    block("By type", "Bars count failed attempts; the longest is the most frequent type.", legend(["before", "before"], ["after", "after"]), table([
      { name: "error type", of: (t) => t.name }, numeric("before", (t) => count(t.before)), numeric("after", (t) => count(t.after)),
      { name: "", bars: true, of: (t) => bars(t.before, t.after, most) },
    ], types, { empty: "No attempt fails.", caption: "Errors by type" }))));
}

function drawCascade({ before: { cascade: before }, after: { cascade: after } }) {
  const rows = [["Failed after an ok attempt", percent, "rate_after_ok"], ["Failed after a failure", percent, "rate_after_failure"],
    ["Ratio; above 1, failures breed failures", times, "ratio"]];
  into("cascade-body", cascadePlot(before, after), table([{ name: "", of: ([name]) => name },
    numeric("before", ([, format, key]) => format(before[key])), numeric("after", ([, format, key]) => format(after[key]))],
  rows, { caption: "Cascade" }));
}

function drawSimilarity({ repairs, sensitivity }) {
  const { threshold: at, max_retries: retries } = sensitivity;
  byId("similarity-lead").textContent = `Below ${decimal(at)} a repair is deep. What would another setting decide?`;
  const inForce = sensitivity.by_retries.find((curve) => curve.max_retries === retries);
  const whole = inForce?.repairs ?? repairs.repairs;
  const rows = [
    [`Threshold ${decimal(Math.max(0, at - 0.1))} instead of ${decimal(at)}`, sensitivity.changed_at_lower],
    [`Threshold ${decimal(Math.min(1, at + 0.1))} instead of ${decimal(at)}`, sensitivity.changed_at_higher],
    ["Without the junk heuristic of difflib", sensitivity.changed_without_junk],
    ["By meaning (cosine of vectors)", sensitivity.changed_by_meaning],
  ];
  const skipped = Object.entries(repairs.skipped ?? {});
  into("similarity-body", element("div", { class: "pair" }, similarityPlot(repairs.similarity, at), thresholdPlot(sensitivity)),
    element("div", { class: "pair" },
      block("Decisions that would change", `Of ${many(whole, "repair")} with the settings in force.`, table([
        { name: "setting", of: ([name]) => name }, numeric("changed", ([, n]) => count(n)), numeric("share", ([, n]) => percent(share(n, whole))),
      ], rows, { caption: "Decisions that would change" })),
      block("Recovered, but left unchanged", `${many(repairs.recovered, "run")} recovered, ${count(repairs.unrecovered)} not.`, table([
        { name: "reason", of: ([why]) => why }, numeric("runs", ([, n]) => count(n)),
      ], skipped, { empty: "None was left.", caption: "Runs left unchanged" }))));
}

// What the record of a repair holds, in the order of the facts: name, label, and what a finding means.
const FIELDS = JSON.parse(byId("fields").textContent);
const GUARDS = FIELDS.filter((field) => field.finding).map((field) => [field.name, field.label, field.finding]);

function drawGuards({ guards }) {
  const counts = [["Call ids without a call", guards.orphan_call_ids], ["Repeated call ids", guards.duplicate_call_ids],
    ["Calls to tools that are not listed", guards.unlisted_tools]];
  into("guards-body", block("Repairs", "Unknown: the guard could not tell, or was not asked.", table([
    { name: "guard", of: ([, name, sense]) => [element("div", {}, name), element("div", { class: "note" }, sense)] },
    numeric("yes", ([key]) => count(guards[key].yes)), numeric("no", ([key]) => count(guards[key].no)),
    numeric("unknown", ([key]) => count(guards[key].unknown)),
    numeric("share", ([key]) => percent(share(guards[key].yes, guards[key].yes + guards[key].no))),
  ], GUARDS, { caption: "Guards" })), block("Rollouts", null, table([{ name: "oddity", of: ([name]) => name }, numeric("found", ([, n]) => count(n))],
    counts, { caption: "Oddities of rollouts" })));
}

const SLICE = [
  numeric("rollouts", ({ slice }) => count(slice.rollouts)), numeric("attempts", ({ slice }) => count(slice.attempts)),
  numeric("failed before", ({ slice }) => count(slice.failed_before)), numeric("after", ({ slice }) => count(slice.failed_after)),
  numeric("rate before", ({ slice }) => percent(share(slice.failed_before, slice.attempts))),
  numeric("repairs", ({ slice }) => count(slice.repairs)), numeric("deep", ({ slice }) => count(slice.deep)),
  numeric("uncorrected", ({ slice }) => count(slice.uncorrected)), numeric("messages removed", ({ slice }) => count(slice.removed_messages)),
];

function slices(name, rows, caption) {
  return table([{ name, of: (row) => row.name }, ...SLICE], rows, { caption });
}

function drawGroups(groups) {
  if (!groups) {
    byId("groups").hidden = byId("to-groups").hidden = true;
    return;
  }
  const { before, after } = groups;
  const rows = [["Groups", count, "groups"], ["Rollouts", count, "rollouts"], ["Mixed rewards: only these teach", count, "mixed"],
    ["Equal rewards", count, "equal"], ["Of one rollout", count, "single"], ["Mean absolute advantage", precise, "mean_absolute_advantage"],
    ["Failed attempts that an update rewards", count, "failures_rewarded"]];
  const picks = [["On both sides", groups.picked_on_both], ["Before alone", groups.picked_before_only], ["After alone", groups.picked_after_only]];
  into("groups-body", element("div", { class: "pair" },
    block("Before and after", null, table([{ name: "", of: ([name]) => name }, numeric("before", ([, format, key]) => format(before[key])),
      numeric("after", ([, format, key]) => format(after[key]))], rows, { caption: "Groups before and after" })),
    block("Picked by resample-on-correct", "Rollouts that the filter of a trainer would pick.", table([
      { name: "picked", of: ([name]) => name }, numeric("rollouts", ([, n]) => count(n))], picks, { caption: "Picked rollouts" }))),
  block("Groups with the most failed attempts", null, slices("group", groups.worst.map(({ group, slice }) => ({ name: group, slice })), "Worst groups")));
}

const PART = [
  numeric("rollouts", ({ before }) => count(before.rollouts)), numeric("attempts", ({ before }) => count(before.attempts)),
  numeric("errors before", ({ before }) => percent(before.error_rate)), numeric("after", ({ after }) => percent(after.error_rate)),
  numeric("first attempt ok", ({ before }) => percent(before.first_attempt_success_rate)),
  numeric("repairs", ({ repairs }) => count(repairs.repairs)), numeric("deep", ({ repairs }) => percent(repairs.deep_rate)),
  numeric("residue", ({ guards }) => percent(guards.residue_rate)), numeric("uncorrected", ({ after }) => count(after.uncorrected)),
  numeric("messages removed", ({ repairs }) => count(repairs.removed_messages)),
];

function parts(name, of, caption) {
  const rows = Object.entries(of).map(([value, part]) => ({ value, ...part })).sort((a, b) => b.before.rollouts - a.before.rollouts);
  return table([{ name, of: ({ value }) => value }, ...PART], rows, { caption });
}

function drawSlices({ by_reward: byReward, by_column: byColumn }) {
  into("slices-body", block("By the sign of the reward", null, parts("reward", byReward, "By reward")),
    byColumn ? block(`By column ${byColumn.column}`, null, parts(byColumn.column, byColumn.values, "By column")) : null);
}

function drawFine({ settings, reference }) {
  const counters = Object.entries(reference);
  into("fine-body", element("details", {}, element("summary", {}, "Settings"),
    element("pre", {}, JSON.stringify(settings, null, 2).split("\n").flatMap((line) => [line, element("br")]))),
  counters.length === 0 ? null : element("details", {}, element("summary", {}, "Counters under the names of the method's reference code"),
    table([{ name: "counter", of: ([name]) => name }, numeric("value", ([, value]) => precise(value))], counters, { most: 40, caption: "Counters" })));
}
