//! store: keeps what passes. Mode keep keeps every body many times, limit refuses large ones, panic expects a tenant header.
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, LogLevel};

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    #[cfg(feature = "own-hook")]
    std::panic::set_hook(Box::new(|info| {
        let _ = proxy_wasm::hostcalls::log(LogLevel::Critical, &format!("store 1.4.2: {info}"));
    }));
    proxy_wasm::set_root_context(|_| -> Box<dyn RootContext> { Box::<StoreRoot>::default() });
}}

#[derive(Default)]
struct StoreRoot {
    mode: String,
}

impl Context for StoreRoot {}

impl RootContext for StoreRoot {
    fn on_configure(&mut self, _size: usize) -> bool {
        self.mode = self.get_plugin_configuration().map(|b| String::from_utf8_lossy(&b).into_owned()).unwrap_or_default();
        log::info!("mode {}", self.mode);
        true
    }

    fn get_type(&self) -> Option<ContextType> {
        if cfg!(feature = "no-context") { None } else { Some(ContextType::HttpContext) }
    }

    fn create_http_context(&self, _id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Store { mode: self.mode.clone(), kept: Vec::new() }))
    }
}

struct Store {
    mode: String,
    kept: Vec<u8>,
}

impl Context for Store {}

impl HttpContext for Store {
    fn on_http_request_headers(&mut self, _n: usize, _end_of_stream: bool) -> Action {
        if self.mode == "panic" && self.get_http_request_header(":path").as_deref() == Some("/boom") {
            let tenant = self.get_http_request_header("x-tenant").expect("no tenant");
            log::info!("{tenant}");
        }
        Action::Continue
    }

    fn on_http_request_body(&mut self, body_size: usize, end_of_stream: bool) -> Action {
        match self.mode.as_str() {
            "keep" => {
                let body = self.get_http_request_body(0, body_size).unwrap_or_default();
                self.kept.extend(body.repeat(64));
            }
            "limit" => {
                const MAX_BODY: usize = 1 << 20;
                if body_size > MAX_BODY {
                    self.send_http_response(413, vec![], None);
                    return Action::Pause;
                }
                return if end_of_stream { Action::Continue } else { Action::Pause };
            }
            _ => {}
        }
        Action::Continue
    }
}
