const UNITS = ["bytes", "KiB", "MiB", "GiB", "TiB"];

/** A number of bytes as the daemon writes it, too: 1.5 GiB. */
export function size(bytes: number): string {
  let amount = bytes;
  let power = 0;
  while (amount >= 1_024 && power < UNITS.length - 1) {
    amount /= 1_024;
    power += 1;
  }
  return `${amount.toLocaleString(undefined, { maximumFractionDigits: amount < 100 ? 1 : 0 })} ${UNITS[power]}`;
}
