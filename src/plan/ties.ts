/** Union–find over names: groups that must share one set of parameters. */

export interface Ties {
  join(names: readonly string[]): void;
  /** The group's first-joined member, or the name itself. */
  root(name: string): string;
}

export function createTies(): Ties {
  const parent = new Map<string, string>();
  const root = (name: string): string => {
    let at = name;
    for (let next = parent.get(at); next !== undefined; next = parent.get(at)) at = next;
    return at;
  };
  return {
    root,
    join: (names) => {
      const [first, ...others] = names;
      if (first === undefined) return;
      for (const other of others) {
        const from = root(other);
        const to = root(first);
        if (from !== to) parent.set(from, to);
      }
    },
  };
}
