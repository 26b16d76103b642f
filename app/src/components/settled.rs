//! Two ways to keep what the browser does not need out of its bundle.
//!
//! A view is compiled once for each way of bringing it into the page. [`Settled`] leaves out the one for routes that are fetched in
//! parts, which this product does not have, and which is a quarter of the bundle. [`markup`] goes further: what never changes is
//! drawn by the server alone and set as `inner_html`; the browser leaves it as it is.

use leptos::attr::Attribute;
use leptos::attr::any_attribute::AnyAttribute;
use leptos::children::ToChildren;
use leptos::prelude::*;
use leptos::tachys::hydration::Cursor;
use leptos::tachys::ssr::StreamBuilder;
use leptos::tachys::view::add_attr::AddAnyAttr;
use leptos::tachys::view::{Position, PositionState, Render, RenderHtml};

/// A view that is hydrated in one go, and drawn by the server with the context it was made in: what an answer had to be waited for
/// is drawn later, where the current owner is that of whichever page the thread drew last, and its language with it.
pub struct Settled<V> {
    view: V,
    #[cfg(feature = "ssr")]
    owner: Option<Owner>,
}

impl<V> Settled<V> {
    /// `view`, in the context of now.
    pub fn new(view: V) -> Self {
        Self {
            view,
            #[cfg(feature = "ssr")]
            owner: Owner::current(),
        }
    }

    fn map<W>(self, change: impl FnOnce(V) -> W) -> Settled<W> {
        Settled {
            view: change(self.view),
            #[cfg(feature = "ssr")]
            owner: self.owner,
        }
    }

    fn draw(self, draw: impl FnOnce(V)) {
        let view = self.view;
        #[cfg(feature = "ssr")]
        if let Some(owner) = self.owner {
            return owner.with(|| draw(view));
        }
        draw(view);
    }
}

impl<V: Render> Render for Settled<V> {
    type State = V::State;

    fn build(self) -> Self::State {
        self.view.build()
    }

    fn rebuild(self, state: &mut Self::State) {
        self.view.rebuild(state);
    }
}

impl<V: RenderHtml> AddAnyAttr for Settled<V> {
    type Output<A: Attribute> = Settled<V>;

    /// Whole pages take no attributes.
    fn add_any_attr<A: Attribute>(self, _: A) -> Self::Output<A> {
        self
    }
}

impl<V: RenderHtml> RenderHtml for Settled<V> {
    type AsyncOutput = Settled<V::AsyncOutput>;
    type Owned = Settled<V::Owned>;

    const MIN_LENGTH: usize = V::MIN_LENGTH;
    const EXISTS: bool = V::EXISTS;

    fn dry_resolve(&mut self) {
        self.view.dry_resolve();
    }

    async fn resolve(self) -> Self::AsyncOutput {
        Settled {
            view: self.view.resolve().await,
            #[cfg(feature = "ssr")]
            owner: self.owner,
        }
    }

    fn to_html_with_buf(
        self,
        buf: &mut String,
        position: &mut Position,
        escape: bool,
        mark_branches: bool,
        extra_attrs: Vec<AnyAttribute>,
    ) {
        self.draw(|view| view.to_html_with_buf(buf, position, escape, mark_branches, extra_attrs));
    }

    fn to_html_async_with_buf<const OUT_OF_ORDER: bool>(
        self,
        buf: &mut StreamBuilder,
        position: &mut Position,
        escape: bool,
        mark_branches: bool,
        extra_attrs: Vec<AnyAttribute>,
    ) {
        self.draw(|view| view.to_html_async_with_buf::<OUT_OF_ORDER>(buf, position, escape, mark_branches, extra_attrs));
    }

    fn hydrate<const FROM_SERVER: bool>(self, cursor: &Cursor, position: &PositionState) -> Self::State {
        self.view.hydrate::<FROM_SERVER>(cursor, position)
    }

    // `hydrate_async` stays the default, which calls `hydrate`: that is the point.

    fn into_owned(self) -> Self::Owned {
        self.map(V::into_owned)
    }
}

/// Makes views of different types one type.
pub trait Erase {
    /// The view, its type forgotten; like `into_any`, but [`Settled`].
    fn erased(self) -> AnyView;
}

impl<V: RenderHtml + 'static> Erase for V {
    fn erased(self) -> AnyView {
        Settled::new(self).into_any()
    }
}

/// Children of a component, settled.
pub struct Content(Box<dyn FnOnce() -> AnyView + Send>);

impl Content {
    /// The children.
    pub fn run(self) -> AnyView {
        (self.0)()
    }
}

impl<F, C> ToChildren<F> for Content
where
    F: FnOnce() -> C + Send + 'static,
    C: RenderHtml + Send + 'static,
{
    fn to_children(f: F) -> Self {
        Self(Box::new(move || Settled::new(f()).into_any()))
    }
}

/// What a view looks like, for `inner_html`; it must not wait for anything nor react to anything.
#[cfg(feature = "ssr")]
pub fn markup(view: impl IntoView) -> String {
    view.into_view().to_html()
}
