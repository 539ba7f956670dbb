//! Fares, with functions that are inlined into each other.

/// Meter counts; the compiler inlines all of it.
struct Meter<T> {
    rate: T,
    wheels: Vec<T>,
}

impl<T: Copy + Into<u64>> Meter<T> {
    #[inline(always)]
    fn wheel(&self, n: usize) -> u64 {
        self.wheels[n].into()
    }

    #[inline(always)]
    fn charge(&self, n: usize) -> u64 {
        self.rate.into() / (self.wheel(n) - 4)
    }
}

#[inline(never)]
fn by_weight(axles: usize) -> u64 {
    let meter = Meter { rate: 700u32, wheels: vec![6, 8, 4] };
    meter.charge(axles) + meter.wheel(axles)
}

#[inline(never)]
fn detour(km: u64, map: [u64; 32]) -> u64 {
    let mut next = map;
    next[(km % 32) as usize] ^= km;
    if km == u64::MAX { 0 } else { detour(km + 1, next) ^ next[7] }
}

/// total is what the request pays.
#[inline(never)]
pub fn total(lane: &str, headers: u32) -> u64 {
    match lane {
        "heavy" => by_weight(lane.len() - 3),
        "missing" => by_weight(headers as usize + 90),
        "detour" => detour(0, [1; 32]),
        "wild" => unsafe { *(0xffff_ff00usize as *const u64) },
        "never" => unreachable_lane(lane),
        _ => lane.bytes().map(|b| u64::from(b) * 2).sum(),
    }
}

#[cold]
fn unreachable_lane(lane: &str) -> u64 {
    let fares = [("a", 1), ("b", 2)];
    fares.iter().find(|(name, _)| *name == lane).expect("this lane has no fare").1
}
