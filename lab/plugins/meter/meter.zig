//! A plugin in Zig without an SDK: its configuration says how it fails, at a request for /boom.
const std = @import("std");

extern "env" fn proxy_log(level: u32, text: [*]const u8, size: usize) u32;
extern "env" fn proxy_get_buffer_bytes(kind: u32, start: u32, length: u32, data: *?[*]const u8, size: *usize) u32;
extern "env" fn proxy_get_header_map_value(map: u32, key: [*]const u8, key_size: usize, data: *?[*]const u8, size: *usize) u32;

var heap: [1 << 16]u8 = undefined;
var used: usize = 0;
var mode: []const u8 = "";
var sink: u32 = 0;

export fn proxy_on_memory_allocate(size: usize) [*]u8 {
    const place = used % (heap.len / 2);
    used += std.mem.alignForward(usize, size, 16);
    return heap[place..].ptr;
}

fn boom() bool {
    var path: ?[*]const u8 = null;
    var size: usize = 0;
    if (proxy_get_header_map_value(0, ":path", 5, &path, &size) != 0) return false;
    return std.mem.eql(u8, path.?[0..size], "/boom");
}

noinline fn at(readings: []const u32, i: usize) u32 {
    return readings[i];
}

noinline fn share(total: u32, parts: u32) u32 {
    return total / parts;
}

noinline fn deeper(n: *volatile u32) u32 {
    var here: u32 = n.* + 1;
    return deeper(@volatileCast(&here)) + n.*;
}

noinline fn unit(name: []const u8) ?u32 {
    return if (name.len > 100) 1 else null;
}

fn is(name: []const u8) bool {
    return std.mem.eql(u8, mode, name);
}

fn fail() void {
    const readings = [_]u32{ 1, 2, 3 };
    if (is("mode=index")) sink = at(&readings, 3 + sink);
    if (is("mode=divide")) sink = share(100, sink);
    if (is("mode=null")) sink = unit(mode).?;
    if (is("mode=panic")) @panic("meter is not sealed");
    if (is("mode=unreachable")) unreachable;
    if (is("mode=overflow")) sink = sink - 1;
    if (is("mode=recursion")) sink = deeper(&sink);
}

export fn proxy_abi_version_0_2_1() void {}
export fn proxy_on_context_create(_: u32, _: u32) void {}
export fn proxy_on_vm_start(_: u32, _: u32) u32 {
    return 1;
}
export fn proxy_on_configure(_: u32, size: u32) u32 {
    var data: ?[*]const u8 = null;
    var n: usize = 0;
    if (proxy_get_buffer_bytes(7, 0, size, &data, &n) == 0 and n > 0) mode = data.?[0..n];
    return 1;
}
export fn proxy_on_request_headers(_: u32, _: u32, _: u32) u32 {
    if (boom()) fail();
    return 0;
}
export fn proxy_on_done(_: u32) u32 {
    return 1;
}
export fn proxy_on_delete(_: u32) void {}
