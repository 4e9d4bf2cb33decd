import vue from '@vitejs/plugin-vue';

const isCustomElement = (tag) => tag === 'ton-balance';
export default { plugins: [vue({ template: { compilerOptions: { isCustomElement } } })], clearScreen: false };
