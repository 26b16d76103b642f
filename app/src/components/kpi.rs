//! A headline figure: the number, what it counts, its coverage, and the link to what it was counted from.

use leptos::prelude::*;

/// How a figure is dressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KpiTone {
    /// As any other.
    #[default]
    Plain,
    /// Somebody must act now.
    Act,
    /// The same place when nobody must.
    Calm,
    /// Something is too cold.
    Freeze,
    /// The first place when nothing is known.
    Unknown,
}

/// A headline figure.
#[component]
pub fn Kpi(
    /// Where its records are.
    href: String,
    /// The number.
    #[prop(into)]
    value: Signal<String>,
    /// Its unit, set smaller.
    #[prop(default = "")]
    unit: &'static str,
    /// What it counts.
    label: &'static str,
    /// Coverage, parts or age.
    #[prop(into)]
    note: Signal<String>,
    /// How it is dressed.
    #[prop(into, default = Signal::stored(KpiTone::Plain))]
    tone: Signal<KpiTone>,
    /// The live topic that changes it.
    topic: String,
) -> impl IntoView {
    let class = move || match tone.get() {
        KpiTone::Plain => "kpi",
        KpiTone::Act => "kpi kpi--act",
        KpiTone::Calm => "kpi kpi--act kpi--calm",
        KpiTone::Freeze => "kpi kpi--freeze",
        KpiTone::Unknown => "kpi kpi--act kpi--unknown",
    };
    // “–” has no unit.
    let known = Memo::new(move |_| value.with(|value| value.contains(|c: char| c.is_ascii_digit())));
    view! {
        <a class=class href=href data-live=topic>
            <span class="kpi__value"><span class="num">{value}</span><small>{move || known.get().then_some(unit)}</small></span>
            <span class="kpi__label">{label}</span>
            <span class="kpi__note">{note}</span>
        </a>
    }
}
