/** The icon: an arrow that goes back along a timeline. */
export const ICON: string = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">
<rect width="32" height="32" rx="7" fill="#0b6b61"/>
<path d="M9 12.5h10a5 5 0 0 1 0 10h-7" fill="none" stroke="#fff" stroke-width="2.6" stroke-linecap="round"/>
<path d="m12.6 8-4.6 4.5 4.6 4.5" fill="none" stroke="#fff" stroke-width="2.6" stroke-linecap="round" stroke-linejoin="round"/>
</svg>
`;
