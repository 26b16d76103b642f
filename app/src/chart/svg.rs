//! A plotters backend that writes SVG for pages: straight lines and rectangles at percentages of the width, curves in an inner
//! `plot` that is stretched to it without its strokes. Colours are CSS classes or real, see [`Paint`].

use super::standalone::hex;
use super::{CLASSES, Ink, Inks, Palette, draw};
use crate::chart::picture::Picture;
use plotters_backend::{BackendColor, BackendCoord, BackendStyle, DrawingBackend, DrawingErrorKind};
use std::convert::Infallible;
use std::fmt::Write as _;

/// Units of the plot across its width: half a minute of a day.
pub const WIDTH: u32 = 2_880;
/// Units of the plot in a pixel of its height.
pub const UNITS: u32 = 10;

/// What the colours of a palette become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    /// Names of CSS classes.
    Classes,
    /// `fill` and `stroke` of a theme, for files; needs a pattern `hatch` in the file.
    Colours(Inks),
}

/// Writes SVG into a text. Closed by `present`.
pub struct SvgText<'a> {
    out: &'a mut String,
    height_px: u32,
    paint: Paint,
    inside_plot: bool,
}

impl<'a> SvgText<'a> {
    /// A drawing of [`WIDTH`] units and `height_px` pixels, written to the end of `out`.
    pub fn new(out: &'a mut String, height_px: u32, paint: Paint) -> Self {
        Self { out, height_px, paint, inside_plot: false }
    }

    fn open(&mut self) {
        if !self.inside_plot {
            self.inside_plot = true;
            let (px, units) = (self.height_px, self.height_px * UNITS);
            let _ = write!(
                self.out,
                r#"<svg class="plot" width="100%" height="{px}" viewBox="0 0 {WIDTH} {units}" preserveAspectRatio="none">"#
            );
        }
    }

    fn close(&mut self) {
        if std::mem::take(&mut self.inside_plot) {
            self.out.push_str("</svg>");
        }
    }

    /// The palette is [`Palette::classes`] always, so a colour is the index of a class.
    fn style(&mut self, style: &impl BackendStyle) {
        let BackendColor { rgb: (_, _, index), .. } = style.color();
        let class = CLASSES[usize::from(index) % CLASSES.len()];
        let inks = match self.paint {
            // The browser writes no files: it does without all that follows.
            Paint::Colours(inks) if cfg!(not(feature = "hydrate")) => inks,
            _ => {
                let _ = write!(self.out, r#" class="{class}""#);
                return;
            }
        };
        let fill = |ink: Ink, opacity: &str| format!(r#" fill="{}"{opacity}"#, hex(ink));
        let stroke = |ink: Ink, more: &str| {
            format!(r#" fill="none" stroke="{}"{more} stroke-linejoin="round" vector-effect="non-scaling-stroke""#, hex(ink))
        };
        let curve = r#" stroke-width="2""#;
        let dashes = r#" stroke-dasharray="5 3""#;
        let attributes = match class {
            "band" => fill(inks.band, ""),
            "gap" => r#" fill="url(#hatch)""#.to_owned(),
            "over over--calm" => fill(inks.warm, r#" fill-opacity="0.18""#),
            "over" => fill(inks.hot, r#" fill-opacity="0.18""#),
            "under" => fill(inks.cold, r#" fill-opacity="0.22""#),
            "grid-line" => stroke(inks.grid, ""),
            "threshold" => stroke(inks.threshold, dashes),
            "threshold freezing" => stroke(inks.cold, dashes),
            "axis" => stroke(inks.axis, ""),
            "series series--warm" => stroke(inks.warm, curve),
            "series series--hot" => stroke(inks.hot, curve),
            "series series--freeze" => stroke(inks.cold, curve),
            "series series--plain" => stroke(inks.plain, curve),
            "f-ok" => fill(inks.fine, ""),
            "f-warm" => fill(inks.warm, ""),
            "f-hot" => fill(inks.hot, ""),
            "f-freeze" => fill(inks.cold, ""),
            "bar-fill" => fill(inks.bar, ""),
            "bar-fill--last" => fill(inks.plain, ""),
            _ => stroke(inks.fine, curve),
        };
        self.out.push_str(&attributes);
    }

    /// `d` of a path through `points`: relative steps, which are short and compress well.
    fn path(&mut self, points: impl IntoIterator<Item = BackendCoord>, closed: bool) {
        self.out.push_str(r#" d=""#);
        let mut before = None;
        for (x, y) in points {
            match before.replace((x, y)) {
                None => {
                    let _ = write!(self.out, "M{x} {y}l");
                }
                Some((bx, by)) => {
                    // A minus parts two numbers by itself.
                    let (dx, dy) = (x - bx, y - by);
                    let first = if self.out.ends_with('l') || dx < 0 { "" } else { " " };
                    let second = if dy < 0 { "" } else { " " };
                    let _ = write!(self.out, "{first}{dx}{second}{dy}");
                }
            }
        }
        self.out.push_str(if closed { r#"z"/>"# } else { r#""/>"# });
    }

    fn px(&mut self, name: &str, units: i32) {
        let _ = write!(self.out, r#" {name}="{}""#, trimmed(f64::from(units) / f64::from(UNITS), 1));
    }

    fn percent(&mut self, name: &str, units: i32) {
        let _ = write!(self.out, r#" {name}="{}%""#, trimmed(f64::from(units) * 100.0 / f64::from(WIDTH), 2));
    }
}

/// A decimal without zeros at its end.
pub fn trimmed(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

impl DrawingBackend for SvgText<'_> {
    type ErrorType = Infallible;

    fn get_size(&self) -> (u32, u32) {
        (WIDTH, self.height_px * UNITS)
    }

    fn ensure_prepared(&mut self) -> Result<(), DrawingErrorKind<Infallible>> {
        Ok(())
    }

    fn present(&mut self) -> Result<(), DrawingErrorKind<Infallible>> {
        self.close();
        Ok(())
    }

    fn draw_pixel(&mut self, _: BackendCoord, _: BackendColor) -> Result<(), DrawingErrorKind<Infallible>> {
        Ok(()) // nothing that is drawn here has one
    }

    fn draw_line<S: BackendStyle>(
        &mut self,
        from: BackendCoord,
        to: BackendCoord,
        style: &S,
    ) -> Result<(), DrawingErrorKind<Infallible>> {
        self.draw_path([from, to], style)
    }

    fn draw_rect<S: BackendStyle>(
        &mut self,
        (left, top): BackendCoord,
        (right, bottom): BackendCoord,
        style: &S,
        _: bool,
    ) -> Result<(), DrawingErrorKind<Infallible>> {
        self.close();
        self.out.push_str("<rect");
        self.style(style);
        if left > 0 {
            self.percent("x", left);
        }
        self.percent("width", right - left);
        if top > 0 {
            self.px("y", top);
        }
        self.px("height", bottom - top);
        self.out.push_str("/>");
        Ok(())
    }

    fn draw_path<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(
        &mut self,
        path: I,
        style: &S,
    ) -> Result<(), DrawingErrorKind<Infallible>> {
        let path: Vec<_> = path.into_iter().collect();
        match path[..] {
            // Straight across, outside of the curves: stays sharp at any width.
            [(left, y), (right, end)] if y == end && !self.inside_plot => {
                self.out.push_str("<line");
                self.style(style);
                if left > 0 {
                    self.percent("x1", left);
                }
                self.percent("x2", right);
                self.px("y1", y);
                self.px("y2", y);
                self.out.push_str("/>");
            }
            _ => {
                self.open();
                self.out.push_str("<path");
                self.style(style);
                self.path(path, false);
            }
        }
        Ok(())
    }

    fn fill_polygon<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(
        &mut self,
        path: I,
        style: &S,
    ) -> Result<(), DrawingErrorKind<Infallible>> {
        self.open();
        self.out.push_str("<path");
        self.style(style);
        self.path(path, true);
        Ok(())
    }
}

/// The plot of a picture as SVG elements.
pub fn plot(picture: &Picture, height_px: u32, paint: Paint) -> String {
    let mut out = String::with_capacity(8_192);
    // The backend cannot fail.
    let _ = draw(&mut SvgText::new(&mut out, height_px, paint), picture, &Palette::classes());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_gets_classes_and_percentages_and_no_colour() {
        let svg = plot(&Picture::of_minutes(&[(10, 5_000), (20, 5_500), (1_430, 9_000), (1_440, 9_500)]), 280, Paint::Classes);
        assert!(svg.contains(r#"<rect class="band" width="100%" y="73.7" height="176.8"/>"#), "{svg}");
        assert!(svg.contains(r#"<rect class="gap" x="1.39%" width="97.92%" height="280"/>"#), "{svg}");
        assert!(svg.contains(r#"<path class="series" d="M20 "#), "{svg}");
        assert!(svg.contains(r#"class="over over--calm""#) && svg.contains(r#"class="series series--warm""#), "{svg}");
        assert!(!svg.contains('#') && !svg.contains("style"), "{svg}");
        assert_eq!(svg.matches("<svg").count(), svg.matches("</svg>").count());
    }

    #[test]
    fn a_file_gets_colours() {
        let svg = plot(&Picture::of_minutes(&[(10, 5_000), (20, 5_500)]), 280, Paint::Colours(Inks::LIGHT));
        assert!(svg.contains(r##"stroke="#0e8a7c""##) && !svg.contains("class=\"series"), "{svg}");
    }

    #[test]
    fn numbers_without_idle_zeros() {
        for (value, expected) in [(0.0, "0"), (-0.01, "0"), (12.50, "12.5"), (100.0, "100"), (3.25, "3.2"), (4.75, "4.8")] {
            assert_eq!(trimmed(value, 1), expected);
        }
    }
}
