//! Small charts and lines: bars, strokes and what stands behind them, in parts of their frame. Pure, the same on the server and in the
//! browser; what they show is decided by who makes them.

use super::labels::{self, Mark};
use super::picture::Level;
use super::svg::{Paint, SvgText};
use super::{Drawn, Palette, hatch, index, stroke};
use plotters_backend::DrawingBackend;

/// What a bar looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bar {
    /// Coloured as a temperature.
    Level(Level),
    /// A count.
    Plain,
    /// The count that is still running.
    Last,
}

/// A place in the frame: parts of its width from the left and of its height from the top.
pub type Place = (f64, f64);

/// What a small chart shows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sketch {
    /// Shaded from one corner to the other.
    pub band: Option<[Place; 2]>,
    /// Lines across, from the top.
    pub grid: Vec<f64>,
    /// Stretches of the width of which nothing is known.
    pub gaps: Vec<[f64; 2]>,
    /// Left end, right end and top of each bar.
    pub bars: Vec<(Bar, [f64; 3])>,
    /// Lines from place to place; `None` of a level is plain.
    pub strokes: Vec<(Option<Level>, Vec<Place>)>,
    /// Whether it stands on a line.
    pub has_axis: bool,
    /// What is written on it.
    pub marks: Vec<Mark>,
}

impl Sketch {
    /// A plain line through `values` as far as they are known.
    pub fn line(&mut self, values: impl IntoIterator<Item = Option<Place>>) {
        let mut open: Vec<Place> = Vec::new();
        for value in values.into_iter().chain([None]) {
            match value {
                Some(place) => open.push(place),
                None if open.is_empty() => {}
                None => self.strokes.push((None, std::mem::take(&mut open))),
            }
        }
    }

    /// The plot as SVG elements, without what is written on it.
    pub fn plot(&self, height_px: u32, paint: Paint) -> String {
        let mut out = String::with_capacity(2_048);
        // The backend cannot fail.
        let _ = draw(&mut SvgText::new(&mut out, height_px, paint), self, &Palette::classes());
        out
    }

    /// All of it as the server draws it, in the parts that the browser takes over.
    pub fn markup(&self, height_px: u32) -> String {
        format!(
            r#"<g data-part="plot">{}</g><g data-part="labels">{}</g>"#,
            self.plot(height_px, Paint::Classes),
            labels::markup(&self.marks)
        )
    }
}

/// Draws the plot of `sketch` over the whole of `to`.
pub fn draw<DB: DrawingBackend>(to: &mut DB, sketch: &Sketch, palette: &Palette) -> Drawn<DB> {
    let (width, height) = to.get_size();
    let (width, height) = (width as i32, height as i32);
    let x = |part: f64| (part * f64::from(width)).round() as i32;
    let y = |part: f64| (part * f64::from(height)).round() as i32;
    if let Some([(left, top), (right, bottom)]) = sketch.band {
        to.draw_rect((x(left), y(top)), (x(right), y(bottom)), &palette.band, true)?;
    }
    for &top in &sketch.grid {
        to.draw_path([(0, y(top)), (width, y(top))], &palette.grid)?;
    }
    for &[from, end] in &sketch.gaps {
        hatch(to, [(x(from), 0), (x(end), height)], palette)?;
    }
    for &(bar, [from, end, top]) in &sketch.bars {
        let style = match bar {
            Bar::Level(level) => &palette.bars[index(level)],
            Bar::Plain => &palette.bars[4],
            Bar::Last => &palette.bars[5],
        };
        to.draw_rect((x(from), y(top)), (x(end), height), style, true)?;
    }
    if sketch.has_axis {
        to.draw_path([(0, height), (width, height)], &palette.axis)?;
    }
    for (level, places) in &sketch.strokes {
        let line = places.iter().map(|&(left, top)| (x(left), y(top))).collect();
        stroke(to, line, width / 100, level.map_or(&palette.plain, |level| &palette.series[index(level)]))?;
    }
    to.present()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_ends_where_nothing_is_known() {
        let mut sketch = Sketch::default();
        sketch.line([None, Some((0.0, 0.5)), Some((0.1, 0.6)), None, None, Some((0.4, 1.0)), None]);
        let lengths: Vec<usize> = sketch.strokes.iter().map(|(_, places)| places.len()).collect();
        assert_eq!(lengths, [2, 1]);
        let svg = sketch.plot(20, Paint::Classes);
        assert!(svg.contains(r#"<path class="series series--plain" d="M0 100l288 20"/>"#), "{svg}");
        assert!(svg.contains(r#" d="M1124 200l56 0"/>"#), "one alone is a dash: {svg}");
    }

    #[test]
    fn bars_stand_on_the_ground_at_percentages() {
        let bars = vec![(Bar::Level(Level::Cold), [0.1, 0.2, 0.5]), (Bar::Last, [0.9, 1.0, 0.0])];
        let svg = Sketch { bars, has_axis: true, ..Sketch::default() }.plot(190, Paint::Classes);
        assert!(svg.contains(r#"<rect class="f-freeze" x="10%" width="10%" y="95" height="95"/>"#), "{svg}");
        assert!(svg.contains(r#"<rect class="bar-fill--last" x="90%" width="10%" height="190"/>"#), "{svg}");
        assert!(svg.contains(r#"<line class="axis" x2="100%" y1="190" y2="190"/>"#), "{svg}");
    }
}
