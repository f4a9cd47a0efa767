//! Plots of a comparison: intervals of each recipe, and its way over the updates.
//!
//! Owns their geometry; colours are the page's, by class. Every text in a plot is a recipe's name or a number.

use std::fmt::Write as _;

use super::report::{Change, RecipeReport, UpdateReport};

const WIDTH: f64 = 1000.0;
const LEFT: f64 = 180.0;
const ROW: f64 = 30.0;
const COLUMNS: usize = 4;

/// A change in a plot: its class, and where it stands in a report.
pub(super) struct Series {
    pub class: &'static str,
    pub title: &'static str,
    pub change: fn(&RecipeReport) -> Option<&Change>,
    pub by_update: fn(&UpdateReport) -> Option<f64>,
}

fn text(out: &mut String, (x, y): (f64, f64), anchor: &str, class: &str, text: &str) {
    let _ = writeln!(out, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" class=\"{class}\">{text}</text>");
}

fn line(out: &mut String, (x1, y1): (f64, f64), (x2, y2): (f64, f64), class: &str) {
    let _ = writeln!(out, "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" class=\"{class}\"/>");
}

/// A number of changes in nats, as short as it can be told apart.
pub(super) fn nats(value: f64) -> String {
    match value.abs() {
        size if size >= 0.0995 || size == 0.0 => format!("{value:+.2}"),
        size if size >= 0.001 => format!("{value:+.4}"),
        _ => format!("{value:+.1e}"),
    }
}

/// The next number whose half is short too.
fn round_up(value: f64) -> f64 {
    let power = 10f64.powf(value.log10().floor());
    let steps = [1.0, 2.0, 4.0, 6.0, 8.0, 10.0];
    steps.into_iter().map(|step| step * power).find(|end| *end >= value).unwrap_or(10.0 * power)
}

/// The mean change of each recipe with its interval.
pub(super) fn intervals(recipes: &[RecipeReport], series: &Series) -> String {
    let found = |recipe: &RecipeReport| (series.change)(recipe).cloned();
    let ends = recipes.iter().filter_map(found).flat_map(|c| {
        let (low, high) = c.interval.unwrap_or((c.change, c.change));
        [low, high, c.change]
    });
    let reach = round_up(ends.map(f64::abs).filter(|end| end.is_finite()).fold(1e-9, f64::max) * 1.05);
    let bottom = 30.0 + recipes.len() as f64 * ROW;
    let x = |value: f64| LEFT + (value / reach + 1.0) / 2.0 * (WIDTH - LEFT - 60.0);
    let mut out =
        format!("<svg viewBox=\"0 0 {WIDTH} {:.0}\" role=\"img\" aria-label=\"{}\">\n", bottom + 28.0, series.title);
    for tick in [-1.0, -0.5, 0.0, 0.5, 1.0] {
        let value = tick * reach;
        line(&mut out, (x(value), 12.0), (x(value), bottom), if tick == 0.0 { "zero" } else { "grid" });
        text(&mut out, (x(value), bottom + 18.0), "middle", "soft", &nats(value));
    }
    for (k, recipe) in recipes.iter().enumerate() {
        let y = 30.0 + k as f64 * ROW;
        text(&mut out, (LEFT - 14.0, y + 4.0), "end", "", recipe.recipe);
        let Some(change) = (series.change)(recipe) else { continue };
        if let Some((low, high)) = change.interval {
            line(&mut out, (x(low), y), (x(high), y), &format!("{} range", series.class));
        }
        let _ = writeln!(
            out,
            "<circle cx=\"{:.1}\" cy=\"{y:.1}\" r=\"4.5\" class=\"{} dot\"><title>{}</title></circle>",
            x(change.change),
            series.class,
            nats(change.change)
        );
    }
    out + "</svg>\n"
}

/// Each recipe's changes by update, one panel for each, on one scale.
pub(super) fn ways(recipes: &[RecipeReport], series: &[Series]) -> String {
    let (wide, high, gap, top) = (200.0, 110.0, 36.0, 24.0);
    let values = recipes.iter().flat_map(|r| &r.updates).flat_map(|u| series.iter().filter_map(|s| (s.by_update)(u)));
    let (least, most) = values.fold((0.0, 0.0), |(least, most): (f64, f64), v| (least.min(v), most.max(v)));
    let span = (most - least).max(1e-9);
    let rows = recipes.len().div_ceil(COLUMNS).max(1);
    let height = rows as f64 * (high + top + 30.0);
    let mut out = format!("<svg viewBox=\"0 0 {WIDTH} {height:.0}\" role=\"img\" aria-label=\"Changes by update\">\n");
    for (k, recipe) in recipes.iter().enumerate() {
        let x0 = 60.0 + (k % COLUMNS) as f64 * (wide + gap);
        let y0 = top + (k / COLUMNS) as f64 * (high + top + 30.0);
        let updates = recipe.updates.len().max(1) as f64;
        let x = |update: f64| x0 + update / updates * wide;
        let y = |value: f64| y0 + (most - value) / span * high;
        text(&mut out, (x0, y0 - 8.0), "start", "", recipe.recipe);
        for (value, class) in [(least, "grid"), (most, "grid"), (0.0, "zero")] {
            line(&mut out, (x0, y(value)), (x0 + wide, y(value)), class);
        }
        if k % COLUMNS == 0 {
            let near_zero = |value: f64| value != 0.0 && value.abs() < 0.15 * span;
            for value in [least, most, 0.0].into_iter().filter(|value| !near_zero(*value)) {
                text(&mut out, (x0 - 6.0, y(value) + 4.0), "end", "soft", &nats(value));
            }
        }
        text(&mut out, (x0, y0 + high + 16.0), "start", "soft", "0");
        text(&mut out, (x0 + wide, y0 + high + 16.0), "end", "soft", &recipe.updates.len().to_string());
        for one in series {
            let points = recipe.updates.iter().filter_map(|u| Some((u.update as f64, (one.by_update)(u)?)));
            let points: Vec<(f64, f64)> = std::iter::once((0.0, 0.0)).chain(points).collect();
            if points.len() > 1 {
                let path: Vec<String> = points.iter().map(|(u, v)| format!("{:.1},{:.1}", x(*u), y(*v))).collect();
                let _ = writeln!(out, "<polyline points=\"{}\" class=\"{}\"/>", path.join(" "), one.class);
            }
        }
    }
    out + "</svg>\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_ends_at_a_short_number_that_holds_what_is_drawn() {
        for (value, end) in [(5.9, 6.0), (6.1, 8.0), (0.011, 0.02), (1.0, 1.0), (9.5, 10.0), (43.0, 60.0)] {
            assert!((round_up(value) - end).abs() < 1e-12 * end, "{value}: {}", round_up(value));
        }
    }

    #[test]
    fn changes_are_told_as_short_as_they_can_be_told_apart() {
        assert_eq!([0.0, -0.5, 0.0123, -3e-7].map(nats), ["+0.00", "-0.50", "+0.0123", "-3.0e-7"]);
    }
}
