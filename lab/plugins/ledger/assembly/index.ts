// A plugin in AssemblyScript whose configuration says how it fails, at a request for /boom.
export * from "@solo-io/proxy-runtime/proxy";
import { Context, FilterHeadersStatusValues, LogLevelValues, RootContext, log, registerRootContext, stream_context } from "@solo-io/proxy-runtime";

class LedgerRoot extends RootContext {
  createContext(context_id: u32): Context {
    return new Ledger(context_id, this);
  }
  onConfigure(size: u32): bool {
    let done = super.onConfigure(size);
    if (this.getConfiguration() == "mode=refuse") {
      log(LogLevelValues.warn, "ledger: no accounts configured");
      return false;
    }
    return done;
  }
}

class Entry {
  next: Entry | null = null;
  amount: i32 = 1;
}

// One step too far.
function total(amounts: Array<i32>): i32 {
  let sum = 0;
  for (let i = 0; i <= amounts.length; i++) sum += amounts[i];
  return sum;
}

function deeper(n: i32): i32 {
  return n < 0 ? 0 : deeper(n + 1) + n;
}

let kept: Array<ArrayBuffer> = [];

class Ledger extends Context {
  constructor(context_id: u32, root_context: LedgerRoot) {
    super(context_id, root_context);
  }
  onRequestHeaders(a: u32, end: bool): FilterHeadersStatusValues {
    if (stream_context.headers.request.get(":path") != "/boom") return FilterHeadersStatusValues.Continue;
    let mode = this.root_context.getConfiguration();
    if (mode == "mode=throw") {
      throw new Error("account is closed");
    } else if (mode == "mode=index") {
      log(LogLevelValues.info, total([1, 2, 3]).toString());
    } else if (mode == "mode=null") {
      log(LogLevelValues.info, new Entry().next!.amount.toString());
    } else if (mode == "mode=assert") {
      assert(a == 0, "headers are not settled");
    } else if (mode == "mode=recursion") {
      log(LogLevelValues.info, deeper(1).toString());
    } else if (mode == "mode=memory") {
      while (true) kept.push(new ArrayBuffer(1 << 20));
    } else if (mode == "mode=divide") {
      log(LogLevelValues.info, (100 / kept.length).toString());
    }
    return FilterHeadersStatusValues.Continue;
  }
}

registerRootContext((context_id: u32) => {
  return new LedgerRoot(context_id);
}, "ledger");
