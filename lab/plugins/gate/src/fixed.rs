//! The same plugin after the repairs of the runbooks; each mode is the "after" of a scenario.
use crate::Gate;
use log::{error, info, warn};
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;

/// An absent configuration is a case, not a panic, when the build says so.
pub const TOLERANT: bool = cfg!(feature = "tolerant");

const MAX_INPUT: usize = 8 * 1024;

impl Gate {
    pub fn fixed_request(&mut self) -> Action {
        match self.settings.mode.as_str() {
            "let-else" => {
                let Some(token) = self.get_http_request_header_bytes("authorization") else {
                    self.send_http_response(401, vec![], Some(b"authorization header required"));
                    return Action::Pause;
                };
                info!("token of {} bytes", token.len());
            }
            "get" => match self.settings.tenants.get(99) {
                Some(t) => info!("{t}"),
                None => warn!("no tenant 99"),
            },
            "bytes" => info!("{:?}", self.get_http_request_header_bytes("x-raw")),
            "borrow-short" => {
                crate::remember("/boom", false);
                crate::remember("/boom", false);
            }
            "bounded" => {
                let value = self.get_http_request_header("x-long").unwrap_or_default();
                if value.len() > MAX_INPUT {
                    self.send_http_response(431, vec![], None);
                    return Action::Pause;
                }
            }
            "callout-checked" => match self.call("outbound|80||auth.default.svc.cluster.local") {
                Ok(_) => return Action::Pause,
                Err(status) => {
                    error!("auth call not started: {status:?}");
                    self.send_http_response(503, vec![], None);
                    return Action::Pause;
                }
            },
            "callout-owned" => match self.call("backend") {
                Ok(_) => return Action::Pause,
                Err(status) => error!("auth call not started: {status:?}"),
            },
            "walk-bounded" => match bounded(0, 100_000) {
                Ok(n) => info!("{n} levels"),
                Err(e) => {
                    warn!("{e}");
                    self.send_http_response(400, vec![], None);
                    return Action::Pause;
                }
            },
            _ => {}
        }
        Action::Continue
    }

    pub fn fixed_call_response(&mut self, num_headers: usize) {
        if num_headers == 0 {
            self.send_http_response(503, vec![], Some(b"auth service unavailable"));
            return;
        }
        match self.get_http_call_response_header(":status").as_deref() {
            Some("200") => self.resume_http_request(),
            _ => self.send_http_response(403, vec![], None),
        }
    }
}

fn bounded(depth: u32, left: u32) -> Result<u32, &'static str> {
    if depth > 64 {
        return Err("nested too deeply");
    }
    if left == 0 { Ok(depth) } else { bounded(depth + 1, left - 1) }
}
