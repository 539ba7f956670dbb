#[cfg(feature = "wee")]
#[global_allocator]
static ALLOC: wee_alloc::WeeAlloc = wee_alloc::WeeAlloc::INIT;

#[no_mangle]
pub extern "C" fn proxy_abi_version_0_2_1() {}

#[no_mangle]
pub extern "C" fn proxy_on_vm_start(_context: u32, _size: usize) -> bool {
    let list: Vec<u32> = std::hint::black_box((0..100).collect());
    list.len() == 100
}
