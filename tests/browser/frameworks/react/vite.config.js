import react from '@vitejs/plugin-react';

// REACT=18 builds the same page with React 18.
const alias = process.env.REACT === '18' ? { react: 'react-18', 'react-dom': 'react-dom-18' } : {};

export default { plugins: [react()], resolve: { alias }, clearScreen: false };
