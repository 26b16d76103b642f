//! A chart as files: what the server draws and writes, and the same drawing as a PNG by the browser's canvas.

use leptos::prelude::*;

/// Where a chart is to be had as files.
pub struct ChartFiles {
    /// Where the server draws it.
    pub svg: String,
    /// Where its data are.
    pub csv: String,
    /// What its PNG is called, without the ending.
    pub name: String,
}

/// Links to the files of a chart. They never change, so the server alone draws them, and asks for them alone.
#[component]
pub fn Files<F: FnOnce() -> ChartFiles>(
    /// Which files.
    of: F,
) -> impl IntoView {
    #[cfg(feature = "ssr")]
    let links = {
        let download = crate::words::use_lang().words().general.download;
        let ChartFiles { svg, csv, name } = of();
        crate::components::settled::markup(view! {
            {download}
            <a class="needs-script" href=svg.clone() data-png=format!("{name}.png")>"PNG"</a>
            <a href=svg download>"SVG"</a>
            <a href=csv download>"CSV"</a>
        })
    };
    #[cfg(not(feature = "ssr"))]
    let links = {
        drop(of);
        String::new()
    };
    view! { <span class="row" inner_html=links></span> }
}

#[cfg(feature = "hydrate")]
pub use browser::start;

#[cfg(feature = "hydrate")]
mod browser {
    use leptos::prelude::document;
    use wasm_bindgen::closure::Closure;
    use wasm_bindgen::{JsCast, JsValue};
    use web_sys::{CanvasRenderingContext2d, Element, Event, HtmlAnchorElement, HtmlCanvasElement, HtmlImageElement};

    /// From here on links with `data-png` save the drawing that they lead to as a PNG of that name, twice its size.
    pub fn start() {
        let clicked = Closure::<dyn FnMut(Event)>::new(|event: Event| {
            let _ = clicked(&event);
        });
        let _ = document().add_event_listener_with_callback("click", clicked.as_ref().unchecked_ref());
        // Lives as long as the page.
        clicked.forget();
    }

    fn clicked(event: &Event) -> Option<()> {
        let link = event.target()?.dyn_into::<Element>().ok()?.closest("[data-png]").ok()??;
        event.prevent_default();
        let (url, name) = (link.get_attribute("href")?, link.get_attribute("data-png")?);
        let image = HtmlImageElement::new().ok()?;
        let loaded = {
            let image = image.clone();
            Closure::once_into_js(move || {
                let _ = save(&image, name);
            })
        };
        image.set_onload(Some(loaded.unchecked_ref()));
        image.set_src(&url);
        Some(())
    }

    fn save(image: &HtmlImageElement, name: String) -> Result<(), JsValue> {
        let canvas: HtmlCanvasElement = document().create_element("canvas")?.unchecked_into();
        canvas.set_width(image.natural_width() * 2);
        canvas.set_height(image.natural_height() * 2);
        let context: CanvasRenderingContext2d = canvas.get_context("2d")?.ok_or(JsValue::NULL)?.unchecked_into();
        context.scale(2.0, 2.0)?;
        context.draw_image_with_html_image_element(image, 0.0, 0.0)?;
        let save = Closure::once_into_js(move |blob: Option<web_sys::Blob>| {
            let _ = blob.map(|blob| save_as(&blob, &name));
        });
        canvas.to_blob(save.unchecked_ref())
    }

    fn save_as(blob: &web_sys::Blob, name: &str) -> Result<(), JsValue> {
        let url = web_sys::Url::create_object_url_with_blob(blob)?;
        let link: HtmlAnchorElement = document().create_element("a")?.unchecked_into();
        link.set_href(&url);
        link.set_download(name);
        link.click();
        web_sys::Url::revoke_object_url(&url)
    }
}
