/* What every C plugin of the lab shares: ABI 0.2.1 without an SDK. The third request of a VM is the one that fails: context 1 is the
   root, the streams count on from 2. */
#define EXPORT(name) __attribute__((export_name(#name)))
#define BOOM(context) ((context) >= 3)

static char heap[1 << 16];
static unsigned used;

EXPORT(proxy_abi_version_0_2_1) void proxy_abi_version_0_2_1(void) {}
EXPORT(proxy_on_memory_allocate) void *proxy_on_memory_allocate(unsigned size) {
  void *at = heap + used % (sizeof heap / 2);
  used += (size + 15) & ~15u;
  return at;
}
EXPORT(proxy_on_vm_start) int proxy_on_vm_start(int context, int size) { return 1; }
EXPORT(proxy_on_configure) int proxy_on_configure(int context, int size) { return 1; }
EXPORT(proxy_on_context_create) void proxy_on_context_create(int context, int root) {}
