/** Nearest-name suggestions for mistyped flags, keys, nodes and tensors. */

/** Levenshtein distance between two short strings. */
export function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const substitute = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(substitute, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}

/** The known names closest to a mistyped one (at most `limit`), or none when nothing is near. */
export function nearestNames(name: string, known: Iterable<string>, limit = 3): string[] {
  const reach = Math.max(2, Math.floor(name.length / 3));
  return [...known]
    .map((candidate) => ({ candidate, distance: editDistance(name.toLowerCase(), candidate.toLowerCase()) }))
    .filter(({ candidate, distance }) => distance <= reach || candidate.includes(name))
    .sort((a, b) => a.distance - b.distance || (a.candidate < b.candidate ? -1 : 1))
    .slice(0, limit)
    .map(({ candidate }) => candidate);
}

/** "Did you mean …?" for an unknown name, or the empty string. */
export function didYouMean(name: string, known: Iterable<string>): string {
  const near = nearestNames(name, known);
  return near.length === 0 ? '' : `Did you mean ${near.map((n) => `'${n}'`).join(' or ')}?`;
}
