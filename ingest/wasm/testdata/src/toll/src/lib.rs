//! toll: charges a fare per request, and fails in a different way for each lane. It is there to be read, not to be used.
mod fare;

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType};

proxy_wasm::main! {{
    proxy_wasm::set_root_context(|_| -> Box<dyn RootContext> { Box::new(Root) });
}}

struct Root;
impl Context for Root {}
impl RootContext for Root {
    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
    fn create_http_context(&self, id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Lane { id }))
    }
}

struct Lane {
    id: u32,
}
impl Context for Lane {}
impl HttpContext for Lane {
    fn on_http_request_headers(&mut self, headers: usize, _end: bool) -> Action {
        let lane = self.get_http_request_header("x-lane").unwrap_or_default();
        let fare = fare::total(&lane, headers as u32);
        log::info!("lane {lane} of {}: {fare}", self.id);
        Action::Continue
    }
}
