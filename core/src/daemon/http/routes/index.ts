import type { Route } from '../route.ts';
import { archiveRoutes } from './archive.ts';
import { clusterRoutes } from './clusters.ts';
import { planRoutes } from './plans.ts';
import { runRoutes } from './runs.ts';

/** The whole API, below {@link API}. */
export const ROUTES: readonly Route[] = [...clusterRoutes, ...archiveRoutes, ...runRoutes, ...planRoutes];

export const API = '/api/v1';
