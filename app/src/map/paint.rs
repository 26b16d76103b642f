//! Facilities on the canvas above the outlines: shapes by condition, numbers under groups, names where there are few.

use super::movable::Map;
use super::points::Cluster;
use crate::format;
use domain::coldchain::Condition;
use leptos::prelude::*;
use std::f64::consts::TAU;
use web_sys::Element;

/// So many facilities or fewer are named on the map.
const NAMED: usize = 12;

/// The colours of the points, read from the style sheet.
pub(super) struct Inks {
    fine: String,
    act: String,
    freeze: String,
    unknown: String,
    ink: String,
    surface: String,
}

impl Map {
    pub(super) fn draw_points(&mut self) {
        let ratio = window().device_pixel_ratio();
        let (css_width, css_height) = self.size();
        let (w, h) = ((css_width * ratio) as u32, (css_height * ratio) as u32);
        if self.parts.canvas.width() != w || self.parts.canvas.height() != h {
            self.parts.canvas.set_width(w);
            self.parts.canvas.set_height(h);
            self.clustered_for = 0.0;
        }
        let context = self.parts.context.clone();
        let _ = context.set_transform(ratio, 0.0, 0.0, ratio, 0.0, 0.0);
        context.clear_rect(0.0, 0.0, css_width, css_height);
        let visible = self.shows_points() && self.points.is_some();
        // Until they come, a region shows those of the server's picture.
        let shown = visible || !self.has_areas;
        if self.shown.get_untracked() != shown {
            self.shown.set(shown);
            let _ = self.parts.root.class_list().toggle_with_force("map-box--points", shown);
        }
        if !visible {
            return;
        }
        self.cluster();
        if self.inks.is_none() {
            self.inks = Inks::read(&self.parts.root);
        }
        let Some(inks) = &self.inks else { return };
        let scale = self.scale();
        let (left, top) = self.corner();
        let seen: Vec<(f64, f64, &Cluster)> = self
            .clusters
            .iter()
            .map(|cluster| ((f64::from(cluster.at[0]) - left) * scale, (f64::from(cluster.at[1]) - top) * scale, cluster))
            .filter(|(x, y, _)| *x > -20.0 && *y > -20.0 && *x < css_width + 20.0 && *y < css_height + 20.0)
            .collect();
        // One path per look, the calm ones first so that nothing urgent is hidden.
        let look = |fill: &str, line: &str, wanted: &dyn Fn(&Cluster) -> bool, shape: &dyn Fn(f64, f64, f64)| {
            context.begin_path();
            for (x, y, cluster) in seen.iter().filter(|(_, _, cluster)| wanted(cluster)) {
                shape(*x, *y, cluster.radius());
            }
            if !fill.is_empty() {
                context.set_fill_style_str(fill);
                context.fill();
            }
            if !line.is_empty() {
                context.set_stroke_style_str(line);
                context.stroke();
            }
        };
        let circle = |x: f64, y: f64, r: f64| {
            context.move_to(x + r, y);
            let _ = context.arc(x, y, r, 0.0, TAU);
        };
        let triangle = |x: f64, y: f64, r: f64| {
            context.move_to(x, y - r * 1.2);
            context.line_to(x + r * 1.15, y + r * 0.9);
            context.line_to(x - r * 1.15, y + r * 0.9);
            context.close_path();
        };
        let flake = |x: f64, y: f64, r: f64| {
            for (dx, dy) in [(0.0, 1.2), (1.04, 0.6), (1.04, -0.6)] {
                context.move_to(x - dx * r, y - dy * r);
                context.line_to(x + dx * r, y + dy * r);
            }
        };
        context.set_line_width(1.0);
        look(&inks.fine, &inks.surface, &|c| c.worst == Condition::Fine, &circle);
        context.set_line_width(1.5);
        look(&inks.surface, &inks.unknown, &|c| c.worst == Condition::NoWord, &circle);
        context.set_line_width(1.0);
        look(&inks.act, &inks.surface, &|c| c.worst == Condition::TooWarm, &triangle);
        let cold = |c: &Cluster| matches!(c.worst, Condition::Freezing | Condition::TooCold);
        context.set_line_width(5.0);
        look("", &inks.surface, &cold, &flake);
        context.set_line_width(2.2);
        look("", &inks.freeze, &cold, &flake);
        context.set_text_align("center");
        context.set_line_join("round");
        context.set_font("600 10px system-ui, sans-serif");
        // Numbers under the larger groups, where no other number stands.
        let mut labelled: Vec<(f64, f64)> = Vec::new();
        for (x, y, cluster) in seen.iter().filter(|(_, _, cluster)| cluster.count > 5) {
            if labelled.iter().all(|(lx, ly)| (lx - x).abs() > 24.0 || (ly - y).abs() > 18.0) {
                labelled.push((*x, *y));
                self.label(inks, &cluster.count.to_string(), *x, y + cluster.radius() + 10.0);
            }
        }
        if self.points.as_ref().is_some_and(|points| points.code.len() <= NAMED) {
            context.set_font("13px system-ui, sans-serif");
            for (x, y, cluster) in &seen {
                let name = self.name(cluster);
                let name = name.as_str();
                let half = context.measure_text(name).map_or(0.0, |size| size.width() / 2.0);
                let middle = x.max(half + 6.0).min((css_width - half - 6.0).max(half));
                // Above its point or below it, wherever no other point and no other name lies under it.
                let free = |line: &f64| {
                    let covers = |px: f64, py: f64| (px - middle).abs() < half + 6.0 && py > line - 16.0 && py < line + 8.0;
                    !seen.iter().any(|(px, py, _)| covers(*px, *py))
                        && !labelled.iter().any(|(lx, ly)| (lx - middle).abs() < half * 2.0 && (ly - line).abs() < 16.0)
                };
                let r = cluster.radius();
                if let Some(line) = [y - r - 8.5, y + r + 17.0].into_iter().find(free) {
                    labelled.push((middle, line));
                    self.label(inks, name, middle, line);
                }
            }
        }
        if let Some((x, y, cluster)) = self.hover.and_then(|(hx, hy)| {
            let near = |x: f64, y: f64| (x - hx).hypot(y - hy);
            seen.iter().min_by(|a, b| near(a.0, a.1).total_cmp(&near(b.0, b.1))).filter(|(x, y, _)| near(*x, *y) < 14.0)
        }) {
            let text = self.name(cluster);
            context.set_font("600 13px system-ui, sans-serif");
            let half = context.measure_text(&text).map_or(0.0, |size| size.width() / 2.0);
            let x = x.max(half + 6.0).min((css_width - half - 6.0).max(half));
            self.label(inks, &text, x, y - cluster.radius() - 7.0);
        }
    }

    /// The name of one facility, the number of several.
    fn name(&self, cluster: &Cluster) -> String {
        match &self.points {
            Some(points) if cluster.count == 1 => points.name[cluster.first].clone(),
            _ => (self.lang.words().map.cluster)(&format::int(self.lang, cluster.count)),
        }
    }

    fn label(&self, inks: &Inks, text: &str, x: f64, y: f64) {
        let context = &self.parts.context;
        context.set_stroke_style_str(&inks.surface);
        context.set_line_width(4.0);
        let _ = context.stroke_text(text, x, y);
        context.set_fill_style_str(&inks.ink);
        let _ = context.fill_text(text, x, y);
    }
}

impl Inks {
    /// Colours as the style sheet gives them: probes of the legend's own classes, because `light-dark()` is only resolved in use.
    fn read(root: &Element) -> Option<Inks> {
        let probe = document().create_element("span").ok()?;
        root.append_child(&probe).ok()?;
        let colour = |class: &str| {
            probe.set_class_name(class);
            let style = window().get_computed_style(&probe).ok().flatten();
            style.and_then(|style| style.get_property_value("color").ok()).unwrap_or_default()
        };
        let inks = Inks {
            fine: colour("ink-fine"),
            act: colour("ink-act"),
            freeze: colour("ink-freeze"),
            unknown: colour("ink-unknown"),
            ink: colour("ink-ink"),
            surface: colour("ink-surface"),
        };
        probe.remove();
        Some(inks)
    }
}
