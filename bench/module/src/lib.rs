//! Matches a header against a pattern that stands in another one. It is there to be large, not to be used.
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
    fn create_http_context(&self, _: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Request))
    }
}

struct Request;
impl Context for Request {}
impl HttpContext for Request {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        let text = self.get_http_request_header("x-rule").unwrap_or_default();
        let rule: serde_json::Value = serde_json::from_str(&text).unwrap();
        let pattern = regex_lite::Regex::new(rule["pattern"].as_str().unwrap()).unwrap();
        let path = self.get_http_request_header(":path").unwrap_or_default();
        self.add_http_request_header("x-matched", &format!("{:?}", pattern.captures(&path)));
        Action::Continue
    }
}
