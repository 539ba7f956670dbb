//! gate: a header filter that fails on purpose. The plugin configuration says how (`mode=unwrap-none tenants=a,b`), a request for
//! /boom says when; all other requests pass. The VM configuration may hold `refuse` or `panic`.
mod fixed;

use log::{debug, error, info, warn};
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, LogLevel, Status};
use std::cell::RefCell;
use std::time::Duration;

#[cfg(feature = "wee")]
#[global_allocator]
static ALLOC: wee_alloc::WeeAlloc = wee_alloc::WeeAlloc::INIT;

proxy_wasm::main! {{
    #[cfg(feature = "hook")]
    proxy_wasm::set_log_level(LogLevel::Info);
    #[cfg(feature = "start-panic")]
    start(&[]);
    proxy_wasm::set_root_context(|_| -> Box<dyn RootContext> { Box::<GateRoot>::default() });
}}

#[cfg(feature = "start-panic")]
#[inline(never)]
fn start(licence: &[u8]) {
    if std::hint::black_box(licence).is_empty() {
        panic!("licence file is missing");
    }
}

thread_local! { static SEEN: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) }; }

#[derive(Clone, Default)]
pub struct Settings {
    mode: String,
    tenants: Vec<String>,
}

impl Settings {
    /// `mode=NAME tenants=a,b`; a text without a mode lists tenants only.
    fn parse(text: &str) -> Self {
        let mut s = Settings::default();
        for word in text.split_whitespace() {
            match word.split_once('=') {
                Some(("mode", m)) => s.mode = m.to_string(),
                Some(("tenants", t)) => s.tenants = t.split(',').map(str::to_string).collect(),
                _ => {}
            }
        }
        s
    }
}

#[derive(Default)]
struct GateRoot {
    settings: Settings,
    ticks: u32,
}

impl Context for GateRoot {}

impl RootContext for GateRoot {
    fn on_vm_start(&mut self, _size: usize) -> bool {
        let text = self.get_vm_configuration().map(|b| String::from_utf8_lossy(&b).into_owned()).unwrap_or_default();
        match text.as_str() {
            "refuse" => {
                error!("vm configuration refused: no licence");
                false
            }
            "panic" => panic!("vm configuration has no field region"),
            _ => true,
        }
    }

    fn on_configure(&mut self, _size: usize) -> bool {
        let raw = self.get_plugin_configuration();
        if fixed::TOLERANT && raw.is_none() {
            warn!("no plugin configuration, passing requests through");
            return true;
        }
        let text = String::from_utf8(raw.expect("gate needs a configuration")).expect("configuration is not UTF-8");
        self.settings = Settings::parse(&text);
        match self.settings.mode.as_str() {
            "refuse" => {
                warn!("no tenants configured, refusing");
                return false;
            }
            "refuse-silently" => return false,
            "refuse-error" => {
                error!("configuration refused: field 'tenants' is missing");
                return false;
            }
            "config-index" => info!("first rule: {}", first_rule(&text)),
            "tick" | "start-tick" => self.set_tick_period(Duration::from_millis(300)),
            _ => {}
        }
        info!("configured {} tenants", self.settings.tenants.len());
        true
    }

    fn on_tick(&mut self) {
        self.ticks += 1;
        if self.settings.mode == "tick" && self.ticks == 2 {
            info!("refreshing {}", tenant_of(&self.settings.tenants, 12));
        }
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }

    fn create_http_context(&self, _id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Gate { settings: self.settings.clone(), ..Default::default() }))
    }
}

#[inline(never)]
fn first_rule(text: &str) -> &str {
    text.split(';').nth(1).expect("configuration has no rules")
}

#[inline(never)]
fn tenant_of(tenants: &[String], key: usize) -> &str {
    &tenants[key]
}

/// Runs out of the shadow stack: 384 bytes of locals a level.
#[inline(never)]
fn walk(depth: u64, limit: u64, pad: [u64; 48]) -> u64 {
    let mut p = pad;
    p[(depth % 48) as usize] ^= depth;
    if depth >= limit { p[0] } else { walk(depth + 1, limit, p) ^ p[3] }
}

#[inline(never)]
fn read_at(address: usize) -> u64 {
    unsafe { (address as *const u64).read_volatile() }
}

#[inline(never)]
fn call_at(index: usize) -> u64 {
    let f: fn(u64, u64, u64) -> u64 = unsafe { std::mem::transmute(std::hint::black_box(index)) };
    f(1, 2, 3)
}

#[inline(never)]
fn remember(path: &str, deep: bool) {
    SEEN.with(|seen| {
        let mut list = seen.borrow_mut();
        list.push(path.to_string());
        if deep {
            remember(path, false);
        }
    })
}

#[inline(never)]
fn limit_of(value: Option<String>) -> u32 {
    value.unwrap_or_else(|| "twelve".to_string()).parse::<u32>().expect("x-limit is not a number")
}

#[derive(Default)]
pub struct Gate {
    settings: Settings,
    boom: bool,
    path: Option<String>,
    replied: bool,
}

impl Gate {
    fn mode(&self, name: &str) -> bool {
        self.boom && self.settings.mode == name
    }

    #[inline(never)]
    fn call(&self, cluster: &str) -> Result<u32, Status> {
        let headers = vec![(":method", "GET"), (":path", "/check"), (":authority", "auth")];
        self.dispatch_http_call(cluster, headers, None, vec![], Duration::from_secs(1))
    }

    fn request(&mut self) -> Action {
        match self.settings.mode.as_str() {
            "unwrap-none" => {
                let token = self.get_http_request_header("authorization").unwrap();
                info!("token of {} bytes", token.len());
            }
            "index" => info!("{}", tenant_of(&self.settings.tenants, 99)),
            "expect" => info!("{}", limit_of(self.get_http_request_header("x-limit"))),
            "utf8" => info!("{:?}", self.get_http_request_header("x-raw")),
            "borrowed" => remember("/boom", true),
            "abort" => std::process::abort(),
            "walk" => info!("{}", walk(0, u64::MAX, [1; 48])),
            "walk-5000" => info!("{}", walk(0, 5000, [1; 48])),
            "wild" => info!("{}", read_at(0xffff_ff00)),
            "bad-call" => info!("{}", call_at(1)),
            "bad-table" => info!("{}", call_at(0x00ff_fff0)),
            "hang" => loop {
                std::hint::black_box(0);
            },
            "pause" => return Action::Pause,
            "oom" => {
                let mut keep: Vec<Vec<u8>> = Vec::new();
                loop {
                    keep.push(vec![1u8; 32 << 20]);
                    if std::hint::black_box(keep.len()) > 1 << 20 {
                        break;
                    }
                }
            }
            "local-reply" => {
                self.send_http_response(503, vec![("retry-after", "1")], Some(b"maintenance\n"));
                return Action::Pause;
            }
            "waf" => {
                let line = "[id \"942100\"] [severity \"CRITICAL\"] SQL injection attack detected";
                proxy_wasm::hostcalls::log(LogLevel::Critical, line).unwrap();
                self.send_http_response(403, vec![], Some(b"blocked\n"));
                return Action::Pause;
            }
            "reply-twice" => {}
            "grpc-name" => {
                let _ = self.dispatch_grpc_call("users", "auth.Check", "Check", vec![], None, Duration::from_secs(1));
            }
            "grpc-name-full" => {
                let cluster = "outbound|80||users.default.svc.cluster.local";
                if let Err(s) = self.dispatch_grpc_call(cluster, "auth.Check", "Check", vec![], None, Duration::from_secs(1)) {
                    error!("grpc call not started: {s:?}");
                }
            }
            "callout" => {
                self.call("outbound|80||auth.default.svc.cluster.local").unwrap();
                return Action::Pause;
            }
            "callout-forget" => {
                if self.call("backend").is_ok() {
                    return Action::Pause;
                }
            }
            _ => return self.fixed_request(),
        }
        Action::Continue
    }
}

impl Context for Gate {
    fn on_http_call_response(&mut self, _token: u32, num_headers: usize, _body: usize, _trailers: usize) {
        if self.settings.mode == "callout-forget" {
            debug!("answer with {num_headers} headers");
            return;
        }
        self.fixed_call_response(num_headers)
    }
}

impl HttpContext for Gate {
    fn on_http_request_headers(&mut self, _n: usize, _eos: bool) -> Action {
        let path = self.get_http_request_header(":path").unwrap_or_default();
        self.boom = path.starts_with("/boom");
        if path == "/hello" {
            info!("hello");
        }
        if self.settings.mode == "take-early" {
            self.path = Some(path);
        }
        if self.boom { self.request() } else { Action::Continue }
    }

    fn on_http_request_body(&mut self, body_size: usize, eos: bool) -> Action {
        if self.mode("body") && eos {
            let body = self.get_http_request_body(0, body_size).unwrap_or_default();
            let text = String::from_utf8(body).expect("body is not UTF-8");
            info!("amount {}", text.split("amount=").nth(1).expect("body without amount"));
        }
        Action::Continue
    }

    fn on_http_response_headers(&mut self, _n: usize, _eos: bool) -> Action {
        if self.mode("response") {
            let kind = self.get_http_response_header("x-kind").expect("upstream sent no x-kind");
            info!("{kind}");
        }
        if self.mode("reply-twice") {
            self.send_http_response(500, vec![], None);
            self.send_http_response(500, vec![], None);
        }
        if self.mode("reply-once") && !std::mem::replace(&mut self.replied, true) {
            self.send_http_response(500, vec![], None);
        }
        Action::Continue
    }

    fn on_http_response_body(&mut self, _size: usize, _eos: bool) -> Action {
        if self.mode("phase") {
            self.set_http_request_header("x-seen", Some("yes"));
        }
        if self.mode("take-early") {
            info!("answered {}", self.path.as_deref().unwrap_or("-"));
        }
        Action::Continue
    }

    fn on_log(&mut self) {
        if self.mode("log") {
            let status = self.get_http_response_header("x-status").unwrap();
            info!("{status}");
        }
        if self.mode("late-reply") {
            self.send_http_response(500, vec![], None);
        }
    }
}
