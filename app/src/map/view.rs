//! What of the map is seen: rectangles of map units, without a browser.

/// The nearest view: so many map units across (40 units are a degree).
pub const NEAREST: f64 = 4.0;

/// A rectangle of map units: what is seen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct View {
    /// Left edge.
    pub x: f64,
    /// Upper edge.
    pub y: f64,
    /// Width.
    pub width: f64,
    /// Height.
    pub height: f64,
}

impl View {
    /// From an SVG's `viewBox`.
    pub fn parse(text: &str) -> Option<View> {
        let mut numbers = text.split(' ').filter_map(|number| number.parse().ok());
        Some(View { x: numbers.next()?, y: numbers.next()?, width: numbers.next()?, height: numbers.next()? })
    }

    /// Enlarged `factor` times about a place that stays where it is, and kept inside `base`.
    #[must_use]
    pub fn zoomed(self, factor: f64, x: f64, y: f64, base: View) -> View {
        let width = (self.width / factor).clamp(NEAREST.min(base.width), base.width);
        let factor = self.width / width;
        View { x: x - (x - self.x) / factor, y: y - (y - self.y) / factor, width, height: self.height / factor }.within(base)
    }

    /// Moved by some map units, and kept inside `base`.
    #[must_use]
    pub fn moved(self, dx: f64, dy: f64, base: View) -> View {
        View { x: self.x + dx, y: self.y + dy, ..self }.within(base)
    }

    /// The nearest view of this size inside `base`.
    #[must_use]
    pub fn within(self, base: View) -> View {
        let clamp = |value: f64, low: f64, high: f64| value.max(low).min(high.max(low));
        View {
            x: clamp(self.x, base.x, base.x + base.width - self.width),
            y: clamp(self.y, base.y, base.y + base.height - self.height),
            ..self
        }
    }

    /// The same middle and shape, but at least `least` wide.
    #[must_use]
    pub fn at_least(self, least: f64) -> View {
        let by = (least / self.width).max(1.0);
        let (width, height) = (self.width * by, self.height * by);
        View { x: self.x - (width - self.width) / 2.0, y: self.y - (height - self.height) / 2.0, width, height }
    }

    /// The smallest view of `base`'s shape around a box, with a margin, and at least `least` wide: some of its surroundings tell where
    /// a place lies.
    pub fn around([x, y, width, height]: [f64; 4], least: f64, base: View) -> View {
        let ratio = base.width / base.height;
        let (w, h) = ((width * 1.25).max(least), (height * 1.25).max(least / ratio));
        let (w, h) = if w / h < ratio { (h * ratio, h) } else { (w, w / ratio) };
        View { x: x + width / 2.0 - w / 2.0, y: y + height / 2.0 - h / 2.0, width: w, height: h }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: View = View { x: 0.0, y: 0.0, width: 1_000.0, height: 500.0 };

    #[test]
    fn zooming_keeps_the_place_under_the_finger() {
        let near = BASE.zoomed(4.0, 600.0, 200.0, BASE);
        assert_eq!(near, View { x: 450.0, y: 150.0, width: 250.0, height: 125.0 });
        assert_eq!(near.zoomed(0.25, 600.0, 200.0, BASE), BASE);
        assert!((BASE.zoomed(1e9, 600.0, 200.0, BASE).width - NEAREST).abs() < f64::EPSILON, "no nearer than the nearest");
    }

    #[test]
    fn the_view_stays_on_the_map() {
        let near = BASE.zoomed(2.0, 0.0, 0.0, BASE);
        assert_eq!(near.moved(-10.0, -10.0, BASE), near);
        assert_eq!(near.moved(9_999.0, 9_999.0, BASE), View { x: 500.0, y: 250.0, ..near });
    }

    #[test]
    fn what_is_small_is_shown_large_enough() {
        let seen = View { x: 100.0, y: 100.0, width: 20.0, height: 10.0 };
        assert_eq!(seen.at_least(40.0), View { x: 90.0, y: 95.0, width: 40.0, height: 20.0 });
        assert_eq!(seen.at_least(10.0), seen);
    }

    #[test]
    fn a_place_is_shown_in_its_surroundings() {
        assert_eq!(View::around([500.0, 200.0, 1.0, 1.0], 40.0, BASE), View { x: 480.5, y: 190.5, width: 40.0, height: 20.0 });
        assert_eq!(View::parse("0 0 1000 500"), Some(BASE));
        assert_eq!(View::parse("0 0 1000"), None);
    }
}
