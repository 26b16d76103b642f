//! What the page of a pipeline says.

/// The page of a pipeline.
pub struct PipelineWords {
    /// Headline until the page is written.
    pub title: &'static str,
}

/// Indonesian.
pub const ID: PipelineWords = PipelineWords { title: "pipeline" };
/// English.
pub const EN: PipelineWords = PipelineWords { title: "pipeline" };
