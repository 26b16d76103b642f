//! How equipment stands: shape, word, colour, in this order.

use crate::api::EquipmentKind;
use crate::components::icon::Icon;
use crate::words::{Words, use_words};
use domain::coldchain::Condition;
use leptos::prelude::*;

/// The `data-tone` of a condition.
pub const fn tone(condition: Condition) -> &'static str {
    match condition {
        Condition::Fine => "ok",
        Condition::TooWarm => "act",
        Condition::TooCold | Condition::Freezing => "freeze",
        Condition::NoWord => "unknown",
    }
}

/// The icon of a condition.
pub const fn icon(condition: Condition) -> &'static str {
    match condition {
        Condition::Fine => "ok",
        Condition::TooWarm => "act",
        Condition::TooCold | Condition::Freezing => "freeze",
        Condition::NoWord => "unknown",
    }
}

/// The word for a condition.
pub const fn word(words: &'static Words, condition: Condition) -> &'static str {
    match condition {
        Condition::Fine => words.cold.fine,
        Condition::TooWarm => words.cold.too_warm,
        Condition::TooCold => words.cold.too_cold,
        Condition::Freezing => words.cold.freezing,
        Condition::NoWord => words.cold.no_word,
    }
}

impl From<domain::master::EquipmentKind> for EquipmentKind {
    fn from(kind: domain::master::EquipmentKind) -> Self {
        match kind {
            domain::master::EquipmentKind::Refrigerator => EquipmentKind::Refrigerator,
            domain::master::EquipmentKind::Freezer => EquipmentKind::Freezer,
            domain::master::EquipmentKind::ColdRoom => EquipmentKind::ColdRoom,
        }
    }
}

/// The name of an equipment: `Kulkas 2`; without its number where that is 0.
pub fn equipment(words: &'static Words, kind: EquipmentKind, number: u16) -> String {
    let name = match kind {
        EquipmentKind::Refrigerator => words.cold.refrigerator,
        EquipmentKind::Freezer => words.cold.freezer,
        EquipmentKind::ColdRoom => words.cold.cold_room,
        EquipmentKind::Unregistered => words.cold.unregistered,
    };
    if number == 0 { name.to_owned() } else { format!("{name} {number}") }
}

/// A condition as icon and word.
#[component]
pub fn Status(
    /// The condition, or a closure that gives it.
    #[prop(into)]
    condition: Signal<Condition>,
) -> impl IntoView {
    let words = use_words();
    view! {
        <span class="status" data-tone=move || tone(condition.get())>
            {move || view! { <Icon name=icon(condition.get())/> }}
            {move || word(words, condition.get())}
        </span>
    }
}
