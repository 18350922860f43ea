import { onTestFinished } from 'vitest';

/** Undoes something at the end of the test, the last first. */
export function later<Resource>(resource: Resource, undo: (resource: Resource) => unknown): Resource {
  onTestFinished(async () => {
    await undo(resource);
  }, 60_000);
  return resource;
}
