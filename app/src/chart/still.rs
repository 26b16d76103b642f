//! The third layer of a chart where there is no browser: nothing moves. Its twin is `canvas`.

use super::sketch::Sketch;
use super::view::Series;
use crate::words::Lang;
use leptos::ev::{KeyboardEvent, PointerEvent};
use leptos::html::{Canvas, Div};
use leptos::prelude::*;
use leptos::svg::Svg;

/// A canvas under the labels of a chart.
#[derive(Clone, Copy)]
pub struct Board {
    /// Draws the plot.
    pub canvas: NodeRef<Canvas>,
    /// Labels, and the server's plot.
    pub chart: NodeRef<Svg>,
}

impl Board {
    /// A board of that height in pixels.
    pub fn new(_: u32) -> Self {
        Self { canvas: NodeRef::new(), chart: NodeRef::new() }
    }
    /// Takes over after mount.
    pub fn start_sketch(self, _: Signal<Sketch>) {}
}

/// The parts of a chart that the browser takes over.
#[derive(Clone, Copy)]
pub struct Stage {
    /// The plot, with its labels and the cursor.
    pub board: Board,
    /// The temperature axis.
    pub axis: NodeRef<Svg>,
    /// Takes pointer and keys.
    pub cursor: NodeRef<Div>,
}

impl Stage {
    /// The stage of `series`.
    pub fn new(_: StoredValue<Series>, _: Lang) -> Self {
        Self { board: Board::new(0), axis: NodeRef::new(), cursor: NodeRef::new() }
    }
    /// Takes over after mount.
    pub fn start(self, _: RwSignal<u32>) {}
    /// The cursor follows a pointer.
    pub fn point(self, _: &PointerEvent) {}
    /// The cursor goes with a mouse; after a touch it stays until something else is touched.
    pub fn unpoint(self, _: &PointerEvent) {}
    /// The cursor follows the arrow keys.
    pub fn key(self, _: &KeyboardEvent) {}
    /// The cursor appears at the newest reading.
    pub fn enter(self) {}
    /// The cursor goes.
    pub fn leave(self) {}
}
