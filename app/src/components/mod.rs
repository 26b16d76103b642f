//! Parts used by two pages or more. They take plain data or signals and ask nobody.

#[cfg(feature = "hydrate")]
pub mod chart_cursor;
pub mod files;
pub mod frame;
pub mod hold;
pub mod icon;
pub mod kpi;
pub mod link;
#[cfg(feature = "ssr")]
pub mod list;
pub mod page;
pub mod plain_chart;
pub mod settled;
pub mod status;
pub mod when;
