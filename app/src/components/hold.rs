//! Whether somebody points at a list, or has focus in it: its rows keep their places meanwhile.

use leptos::prelude::*;
use std::rc::Rc;
use std::time::Duration;

/// A list is let go of only so long after pointer or focus have left it: a finger leaves before its tap counts, and focus leaves a row for
/// the next one.
const AFTER: Duration = Duration::from_millis(500);

/// Which list of a page is held. A list is called by the id of its heading, with which its section is labelled.
#[derive(Clone, Copy, Default)]
pub struct Hold(StoredValue<Pointer>);

#[derive(Clone, Copy, Default)]
struct Pointer {
    list: Option<&'static str>,
    /// How often it came or went.
    moves: u32,
}

impl Hold {
    /// Whether `list` is held. In the browser only.
    pub fn is_on(self, list: &str) -> bool {
        // Asked, not noted: an element that goes away with the focus in it tells nobody.
        let labelled = format!("[aria-labelledby=\"{list}\"]");
        let has_focus =
            || document().active_element().is_some_and(|element| element.closest(&labelled).is_ok_and(|at| at.is_some()));
        self.0.try_get_value().is_some_and(|pointer| pointer.list == Some(list)) || has_focus()
    }

    /// A pointer has come to `list`.
    pub fn point(self, list: &'static str) {
        self.0.update_value(|pointer| *pointer = Pointer { list: Some(list), moves: pointer.moves + 1 });
    }

    /// The pointer has left `list`; `then` follows once nothing holds it any more.
    pub fn leave(self, list: &'static str, then: Rc<dyn Fn()>) {
        self.0.update_value(|pointer| pointer.moves += 1);
        let left = self.0.get_value().moves;
        self.later(list, left, then);
    }

    /// Focus has left what it was on in `list`; `then` follows once nothing holds the list any more.
    pub fn blur(self, list: &'static str, then: Rc<dyn Fn()>) {
        // No pointer has left.
        self.later(list, u32::MAX, then);
    }

    fn later(self, list: &'static str, left: u32, then: Rc<dyn Fn()>) {
        set_timeout(
            move || {
                let _ = self.0.try_update_value(|pointer| pointer.list = pointer.list.filter(|_| pointer.moves != left));
                if !self.is_on(list) {
                    then();
                }
            },
            AFTER,
        );
    }
}
