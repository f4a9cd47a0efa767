//! Curves and intervals as SVG, for light and for dark pages.
//!
//! Owns how a plot looks. A panel shows one arm before the grey curve of `raw`; no colour has to be looked up.

use std::fmt::Write as _;

/// Colours of a page.
#[derive(Clone, Copy, Debug)]
pub struct Theme {
    pub name: &'static str,
    surface: &'static str,
    ink: &'static str,
    muted: &'static str,
    grid: &'static str,
    accent: &'static str,
}

pub const THEMES: [Theme; 2] = [
    Theme { name: "light", surface: "#ffffff", ink: "#1f1f1d", muted: "#6b6a65", grid: "#e4e3df", accent: "#1f6fd0" },
    Theme { name: "dark", surface: "#161615", ink: "#f2f1ee", muted: "#9a9992", grid: "#33322f", accent: "#6aa8f5" },
];

/// One arm: mean, least and most over seeds by update, and raw's.
#[derive(Clone, Debug)]
pub struct Panel {
    pub title: String,
    pub own: Vec<[f64; 3]>,
    pub reference: Vec<[f64; 3]>,
}

/// Differences of one arm to raw.
#[derive(Clone, Debug)]
pub struct Effect {
    pub name: String,
    pub mean: f64,
    pub interval: Option<(f64, f64)>,
    pub seeds: Vec<f64>,
}

const WIDTH: f64 = 900.0;
const COLUMNS: usize = 4;
const FONT: &str = "font-family=\"system-ui, sans-serif\"";

fn opened(height: f64, title: &str, theme: &Theme) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{title}\" {FONT}>\n<rect width=\"{WIDTH}\" height=\"{height}\" fill=\"{}\"/>\n<text x=\"16\" y=\"26\" font-size=\"15\" font-weight=\"600\" fill=\"{}\">{title}</text>\n",
        theme.surface, theme.ink
    )
}

fn label(out: &mut String, (x, y): (f64, f64), anchor: &str, colour: &str, text: &str) {
    let _ = writeln!(
        out,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" font-size=\"11\" text-anchor=\"{anchor}\" fill=\"{colour}\">{text}</text>"
    );
}

/// Small multiples: each arm beside raw.
pub fn panels(title: &str, panels: &[Panel], theme: &Theme) -> String {
    let (wide, high, gap, top) = (190.0, 120.0, 28.0, 62.0);
    let rows = panels.len().div_ceil(COLUMNS).max(1);
    let height = top + rows as f64 * (high + 46.0);
    let mut out = opened(height, title, theme);
    label(
        &mut out,
        (16.0, 44.0),
        "start",
        theme.muted,
        "blue: the arm, mean over seeds, band from least to most; grey: raw",
    );
    let all = || panels.iter().flat_map(|panel| panel.own.iter().chain(&panel.reference)).flatten().copied();
    let least = (all().fold(1.0, f64::min) * 10.0).floor() / 10.0;
    let most = ((all().fold(0.0, f64::max) * 10.0).ceil() / 10.0).max(least + 0.1);
    for (k, panel) in panels.iter().enumerate() {
        let (x0, y0) = (40.0 + (k % COLUMNS) as f64 * (wide + gap), top + (k / COLUMNS) as f64 * (high + 46.0) + 14.0);
        let updates = panel.own.len().max(panel.reference.len()).max(2);
        let x = |at: usize| x0 + at as f64 / (updates - 1) as f64 * wide;
        let y = |value: f64| y0 + (most - value) / (most - least) * high;
        label(&mut out, (x0, y0 - 6.0), "start", theme.ink, &panel.title);
        for step in 0..=2 {
            let value = least + (most - least) * f64::from(step) / 2.0;
            let _ = writeln!(
                out,
                "<line x1=\"{x0:.1}\" x2=\"{:.1}\" y1=\"{:.1}\" y2=\"{:.1}\" stroke=\"{}\"/>",
                x0 + wide,
                y(value),
                y(value),
                theme.grid
            );
            if k % COLUMNS == 0 {
                label(&mut out, (x0 - 5.0, y(value) + 4.0), "end", theme.muted, &format!("{value:.2}"));
            }
        }
        label(&mut out, (x0, y0 + high + 14.0), "start", theme.muted, "1");
        label(&mut out, (x0 + wide, y0 + high + 14.0), "end", theme.muted, &updates.to_string());
        let line = |values: &[[f64; 3]]| {
            values
                .iter()
                .enumerate()
                .map(|(at, v)| format!("{:.1},{:.1}", x(at), y(v[0])))
                .collect::<Vec<_>>()
                .join(" ")
        };
        let lower = panel.own.iter().enumerate().map(|(at, v)| format!("{:.1},{:.1}", x(at), y(v[1])));
        let upper = panel.own.iter().enumerate().rev().map(|(at, v)| format!("{:.1},{:.1}", x(at), y(v[2])));
        let band = lower.chain(upper).collect::<Vec<_>>().join(" ");
        let _ = writeln!(out, "<polygon points=\"{band}\" fill=\"{}\" opacity=\"0.16\"/>", theme.accent);
        for (points, colour, thick) in
            [(line(&panel.reference), theme.muted, 1.5), (line(&panel.own), theme.accent, 2.0)]
        {
            let _ = writeln!(
                out,
                "<polyline points=\"{points}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"{thick}\" stroke-linejoin=\"round\"/>"
            );
        }
    }
    out + "</svg>\n"
}

/// Each arm's differences to raw: one dot for each seed, the mean, and its interval.
pub fn effects(title: &str, effects: &[Effect], theme: &Theme) -> String {
    let (left, wide, row, top) = (170.0, 680.0, 30.0, 56.0);
    let height = top + effects.len() as f64 * row + 40.0;
    let mut out = opened(height, title, theme);
    let all =
        || effects.iter().flat_map(|e| e.seeds.iter().copied().chain(e.interval.into_iter().flat_map(|(a, b)| [a, b])));
    let reach = ((all().map(f64::abs).fold(0.02, f64::max) * 20.0).ceil() / 20.0).max(0.05);
    let x = |value: f64| left + (value + reach) / (2.0 * reach) * wide;
    let bottom = top + effects.len() as f64 * row;
    for value in [-reach, -reach / 2.0, 0.0, reach / 2.0, reach] {
        let colour = if value == 0.0 { theme.muted } else { theme.grid };
        let _ = writeln!(
            out,
            "<line x1=\"{0:.1}\" x2=\"{0:.1}\" y1=\"{1:.1}\" y2=\"{bottom:.1}\" stroke=\"{colour}\"/>",
            x(value),
            top - 8.0
        );
        label(&mut out, (x(value), bottom + 18.0), "middle", theme.muted, &format!("{value:+.3}"));
    }
    for (k, effect) in effects.iter().enumerate() {
        let y = top + k as f64 * row + 10.0;
        label(&mut out, (left - 14.0, y + 4.0), "end", theme.ink, &effect.name);
        if let Some((low, high)) = effect.interval {
            let _ = writeln!(
                out,
                "<line x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"{}\" stroke-width=\"3\" stroke-linecap=\"round\"/>",
                x(low),
                x(high),
                theme.accent
            );
        }
        for seed in &effect.seeds {
            let _ = writeln!(out, "<circle cx=\"{:.1}\" cy=\"{y:.1}\" r=\"2.5\" fill=\"{}\"/>", x(*seed), theme.muted);
        }
        let _ = writeln!(
            out,
            "<circle cx=\"{:.1}\" cy=\"{y:.1}\" r=\"5\" fill=\"{}\" stroke=\"{}\" stroke-width=\"2\"/>",
            x(effect.mean),
            theme.accent,
            theme.surface
        );
    }
    out + "</svg>\n"
}
