import type { ListingProgress } from '../archive/draw-map.ts';

/** How far the listing of a repository is. */
export function listingText({ repository, objects }: ListingProgress): string {
  return `repository ${repository}: listed ${objects} objects`;
}
