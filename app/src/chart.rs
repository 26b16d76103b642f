//! Charts: one drawing by plotters, generic over its backend, for SVG on the server and a canvas in the browser.
//!
//! Three layers: plot, labels, cursor: plotters draws the plot only. Labels are markup at percentages
//! with real pixels, so one drawing fits every width and text never shrinks. What a chart of readings shows is decided in [`picture`];
//! small charts and lines are a [`sketch`].

pub mod labels;
pub mod picture;
pub mod sketch;
pub mod standalone;
pub mod summary;
pub mod svg;
pub mod view;

#[cfg(feature = "hydrate")]
pub mod canvas;
#[cfg(not(feature = "hydrate"))]
#[path = "chart/still.rs"]
pub mod canvas;

use crate::chart::picture::{Level, Picture};
use plotters::style::{RGBAColor, ShapeStyle};
use plotters_backend::{BackendCoord, DrawingBackend, DrawingErrorKind};

/// What the strokes and areas of a plot look like.
///
/// For SVG these are no colours at all but the names of CSS classes in disguise ([`Palette::classes`]), so that both themes work
/// and no inline style is needed; on a canvas they are real ([`Palette::colours`]).
#[derive(Clone, Copy, Debug)]
pub struct Palette {
    /// Area of the range.
    pub band: ShapeStyle,
    /// Horizontal lines of the grid.
    pub grid: ShapeStyle,
    /// The limits of the range.
    pub threshold: ShapeStyle,
    /// The freezing point.
    pub freezing: ShapeStyle,
    /// Times without readings.
    pub gap: ShapeStyle,
    /// The line at the bottom.
    pub axis: ShapeStyle,
    /// The curve by [`Level`]: fine, warm, hot, cold.
    pub series: [ShapeStyle; 4],
    /// The area between curve and range by level: none, past, lasting, cold.
    pub outside: [ShapeStyle; 4],
    /// Bars of small charts: by [`Level`], then plain, and the one that is still running.
    pub bars: [ShapeStyle; 6],
    /// A line without a level.
    pub plain: ShapeStyle,
    /// Dash and pause of thresholds in backend units; `None` where a class does it.
    pub dash: Option<(i32, i32)>,
    /// Distance of the lines of the hatching in backend units; `None` where a class does it.
    pub hatch: Option<i32>,
}

/// The classes behind the colours of [`Palette::classes`], by their blue.
pub const CLASSES: [&str; 20] = [
    "band",
    "grid-line",
    "threshold",
    "threshold freezing",
    "gap",
    "axis",
    "series",
    "series series--warm",
    "series series--hot",
    "series series--freeze",
    "over over--calm",
    "over",
    "under",
    "f-ok",
    "f-warm",
    "f-hot",
    "f-freeze",
    "bar-fill",
    "bar-fill--last",
    "series series--plain",
];

/// A real colour: red, green, blue.
pub type Ink = (u8, u8, u8);

impl Palette {
    /// The palette whose colours stand for CSS classes: (0, 0, index into [`CLASSES`]).
    pub fn classes() -> Self {
        let class = |index: u8| ShapeStyle { color: RGBAColor(0, 0, index, 1.0), filled: true, stroke_width: 1 };
        Self {
            band: class(0),
            grid: class(1),
            threshold: class(2),
            freezing: class(3),
            gap: class(4),
            axis: class(5),
            series: [class(6), class(7), class(8), class(9)],
            outside: [class(10), class(10), class(11), class(12)],
            bars: [class(13), class(14), class(15), class(16), class(17), class(18)],
            plain: class(19),
            dash: None,
            hatch: None,
        }
    }

    /// Real colours; `scale` pixels of the canvas are one pixel of the page.
    pub fn colours(ink: &Inks, scale: f64) -> Self {
        let px = |width: f64| ((width * scale).round() as u32).max(1);
        let stroke =
            |(r, g, b): Ink, width: f64| ShapeStyle { color: RGBAColor(r, g, b, 1.0), filled: true, stroke_width: px(width) };
        let tint = |(r, g, b): Ink, alpha: f64| ShapeStyle { color: RGBAColor(r, g, b, alpha), filled: true, stroke_width: 0 };
        Self {
            band: tint(ink.band, 1.0),
            grid: stroke(ink.grid, 1.0),
            threshold: stroke(ink.threshold, 1.0),
            freezing: stroke(ink.cold, 1.0),
            // As light as the pattern of the style sheet, half of whose lines its tiles cut off.
            gap: ShapeStyle { color: RGBAColor(ink.axis.0, ink.axis.1, ink.axis.2, 0.55), filled: true, stroke_width: px(1.0) },
            axis: stroke(ink.axis, 1.0),
            series: [stroke(ink.fine, 2.0), stroke(ink.warm, 2.0), stroke(ink.hot, 2.0), stroke(ink.cold, 2.0)],
            outside: [tint(ink.warm, 0.18), tint(ink.warm, 0.18), tint(ink.hot, 0.18), tint(ink.cold, 0.22)],
            bars: [ink.fine, ink.warm, ink.hot, ink.cold, ink.bar, ink.plain].map(|ink| tint(ink, 1.0)),
            plain: stroke(ink.plain, 2.0),
            dash: Some((px(5.0) as i32, px(3.0) as i32)),
            hatch: Some(px(8.0) as i32),
        }
    }
}

/// Real colours of a theme, from `style/tokens.css`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inks {
    /// `--t-band`
    pub band: Ink,
    /// `--line`
    pub grid: Ink,
    /// `--muted`
    pub threshold: Ink,
    /// `--line-strong`
    pub axis: Ink,
    /// `--t-ok`
    pub fine: Ink,
    /// `--t-warm`
    pub warm: Ink,
    /// `--t-hot`
    pub hot: Ink,
    /// `--t-freeze`
    pub cold: Ink,
    /// `--surface`
    pub surface: Ink,
    /// `--ink`
    pub text: Ink,
    /// `--muted`
    pub muted: Ink,
    /// `--act`
    pub act: Ink,
    /// `--warn`
    pub warn: Ink,
    /// `--freeze`
    pub freeze: Ink,
    /// `--m4`
    pub bar: Ink,
    /// `--m5`
    pub plain: Ink,
}

impl Inks {
    /// The light theme, for files that are printed or sent on.
    pub const LIGHT: Inks = Inks {
        band: (0xdf, 0xf1, 0xec),
        grid: (0xda, 0xde, 0xe4),
        threshold: (0x4c, 0x55, 0x63),
        axis: (0x7d, 0x86, 0x94),
        fine: (0x0e, 0x8a, 0x7c),
        warm: (0xb9, 0x6f, 0x00),
        hot: (0xb8, 0x0d, 0x24),
        cold: (0x0c, 0x4a, 0x94),
        surface: (0xff, 0xff, 0xff),
        text: (0x12, 0x16, 0x1d),
        muted: (0x4c, 0x55, 0x63),
        act: (0xb4, 0x10, 0x2b),
        warn: (0x88, 0x50, 0x00),
        freeze: (0x0a, 0x63, 0xb0),
        bar: (0x5b, 0x6d, 0xab),
        plain: (0x2f, 0x40, 0x89),
    };
}

/// The index of a level in the palette.
const fn index(level: Level) -> usize {
    match level {
        Level::Fine => 0,
        Level::Warm => 1,
        Level::Hot => 2,
        Level::Cold => 3,
    }
}

/// What drawing ends with.
pub type Drawn<DB> = Result<(), DrawingErrorKind<<DB as DrawingBackend>::ErrorType>>;

/// Draws the plot of `picture` over the whole of `to`: band, grid, thresholds, gaps, tinted excursions, curve.
pub fn draw<DB: DrawingBackend>(to: &mut DB, picture: &Picture, palette: &Palette) -> Drawn<DB> {
    let (width, height) = to.get_size();
    let (width, height) = (width as i32, height as i32);
    let x = |at| (picture.x(at) * f64::from(width)).round() as i32;
    let y = |milli| (picture.y(milli) * f64::from(height)).round() as i32;
    let (min, max) = (picture.range.min.0, picture.range.max.0);

    to.draw_rect((0, y(max)), (width, y(min)), &palette.band, true)?;
    for &milli in picture.degrees.iter().filter(|&&milli| milli != min && milli != max) {
        to.draw_path([(0, y(milli)), (width, y(milli))], &palette.grid)?;
    }
    for gap in &picture.gaps {
        hatch(to, [(x(gap.from), 0), (x(gap.to), height)], palette)?;
    }
    if picture.freezing_line {
        dashed(to, y(0), width, &palette.freezing, palette.dash)?;
    }
    for limit in [min, max] {
        dashed(to, y(limit), width, &palette.threshold, palette.dash)?;
    }
    to.draw_path([(0, height), (width, height)], &palette.axis)?;

    for line in picture.lines.iter().filter(|line| line.level != Level::Fine && line.points.len() > 1) {
        let limit = if line.level == Level::Cold { min } else { max };
        // A whole excursion that lasts is tinted as hot, also the first half-hour of it.
        let tint =
            if line.open && line.level == Level::Warm && picture.newest_level() == Level::Hot { Level::Hot } else { line.level };
        let curve = line.points.iter().map(|p| (x(p.at), y(p.temperature.0)));
        let (first, last) = (line.points[0].at, line.points[line.points.len() - 1].at);
        to.fill_polygon(curve.chain([(x(last), y(limit)), (x(first), y(limit))]), &palette.outside[index(tint)])?;
    }
    for line in &picture.lines {
        let curve = line.points.iter().map(|p| (x(p.at), y(p.temperature.0))).collect();
        stroke(to, curve, width / 960, &palette.series[index(line.level)])?;
    }
    to.present()
}

/// A line through `places`; one alone between two gaps is `half` as long on both sides, to be seen.
fn stroke<DB: DrawingBackend>(to: &mut DB, mut places: Vec<BackendCoord>, half: i32, style: &ShapeStyle) -> Drawn<DB> {
    if let [(x, y)] = places[..] {
        places = vec![(x - half, y), (x + half, y)];
    }
    places.dedup();
    to.draw_path(places, style)
}

fn dashed<DB: DrawingBackend>(to: &mut DB, y: i32, width: i32, style: &ShapeStyle, dash: Option<(i32, i32)>) -> Drawn<DB> {
    let Some((dash, pause)) = dash else {
        return to.draw_path([(0, y), (width, y)], style);
    };
    let mut x = 0;
    while x < width {
        to.draw_path([(x, y), ((x + dash).min(width), y)], style)?;
        x += dash + pause;
    }
    Ok(())
}

/// Fills a rectangle with lines that rise to the right, or as a whole where a class does the hatching.
fn hatch<DB: DrawingBackend>(to: &mut DB, [(left, top), (right, bottom)]: [BackendCoord; 2], palette: &Palette) -> Drawn<DB> {
    let Some(step) = palette.hatch else {
        return to.draw_rect((left, top), (right, bottom), &palette.gap, true);
    };
    let (width, height) = (right - left, bottom - top);
    // The line through (left + offset, bottom) meets the rectangle's other sides at most once each.
    let mut offset = step - height;
    while offset < width {
        let from = if offset < 0 { (left, bottom + offset) } else { (left + offset, bottom) };
        let run = (right - from.0).min(from.1 - top);
        if run > 0 {
            to.draw_path([from, (from.0 + run, from.1 - run)], &palette.gap)?;
        }
        offset += step;
    }
    Ok(())
}
